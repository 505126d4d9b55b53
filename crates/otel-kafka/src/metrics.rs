//! The instruments for Kafka that the conventions do not define: messages sent without their context, and rebalances.
//!
//! The crate's `README.md` lists them.

use opentelemetry::metrics::{Counter, Meter};

#[derive(Debug)]
pub(crate) struct KafkaInstruments {
    pub(crate) context_dropped: Counter<u64>,
    pub(crate) rebalances: Counter<u64>,
}

impl KafkaInstruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            context_dropped: meter
                .u64_counter("messaging.kafka.context.left_out")
                .with_unit("{message}")
                .with_description(
                    "Messages sent without their context, which would have made them too large.",
                )
                .build(),
            rebalances: meter
                .u64_counter("messaging.kafka.rebalances")
                .with_unit("{rebalance}")
                .with_description("Rebalances of the group that reached this consumer.")
                .build(),
        }
    }
}
