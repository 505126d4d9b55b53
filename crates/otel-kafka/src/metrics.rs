//! The counters for Kafka that the conventions do not define: messages sent without their context, and rebalances.
//!
//! The crate's `README.md` lists them.

use otel_messaging::{ClientCounter, MessagingInstrumentation};

/// The kind of a rebalance. Defined by this crate, not by the conventions.
pub(crate) const REBALANCE: &str = "messaging.kafka.rebalance.type";

pub(crate) fn context_dropped(client: &MessagingInstrumentation) -> ClientCounter {
    client.counter(
        "messaging.kafka.context.left_out",
        "{message}",
        "Messages sent without their context, which would have made them too large.",
    )
}

pub(crate) fn rebalances(client: &MessagingInstrumentation) -> ClientCounter {
    client.counter(
        "messaging.kafka.rebalances",
        "{rebalance}",
        "Rebalances of the group that reached this consumer.",
    )
}
