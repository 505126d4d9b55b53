//! The metrics for Kafka that the conventions do not define: messages sent without their context, rebalances,
//! and the lag of a consumer.
//!
//! The crate's `README.md` lists them.

use opentelemetry::metrics::{AsyncInstrument, Meter, ObservableGauge};
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

/// Creates the gauge of the lag. `observe` is called at each collection.
pub(crate) fn consumer_lag(
    meter: &Meter,
    observe: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
) -> ObservableGauge<u64> {
    meter
        .u64_observable_gauge("messaging.kafka.consumer.lag")
        .with_unit("{message}")
        .with_description("Messages of a partition that the group has not committed.")
        .with_callback(observe)
        .build()
}
