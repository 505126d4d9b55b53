//! The counter for RabbitMQ that the conventions do not define: messages sent without their context.
//!
//! The crate's `README.md` lists it.

use otel_messaging::{ClientCounter, MessagingInstrumentation};

pub(crate) fn context_dropped(client: &MessagingInstrumentation) -> ClientCounter {
    client.counter(
        "messaging.rabbitmq.context.left_out",
        "{message}",
        "Messages sent without their context, because their header frame would have been too large.",
    )
}
