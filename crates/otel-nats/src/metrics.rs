//! The counter for NATS that the conventions do not define: messages sent without their context.
//!
//! The crate's `README.md` lists it.

use otel_messaging::{ClientCounter, MessagingInstrumentation};

pub(crate) fn context_dropped(client: &MessagingInstrumentation) -> ClientCounter {
    client.counter(
        "messaging.nats.context.left_out",
        "{message}",
        "Messages sent without their context, which would have made them too large.",
    )
}
