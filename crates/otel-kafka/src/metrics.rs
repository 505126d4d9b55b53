//! The metrics for Kafka that the conventions do not define: messages sent without their context, rebalances,
//! the lag of a consumer, and the queue time of a producer.
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

/// The callback of a gauge, called at each collection.
pub(crate) type Observe<T> = Box<dyn Fn(&dyn AsyncInstrument<T>) + Send + Sync>;

pub(crate) fn consumer_lag(meter: &Meter, observe: Observe<u64>) -> ObservableGauge<u64> {
    meter
        .u64_observable_gauge("messaging.kafka.consumer.lag")
        .with_unit("{message}")
        .with_description("Messages of a partition that the group has not committed.")
        .with_callback(observe)
        .build()
}

pub(crate) fn queue_time(meter: &Meter, observe: Observe<f64>) -> ObservableGauge<f64> {
    meter
        .f64_observable_gauge("messaging.kafka.producer.queue.time")
        .with_unit("s")
        .with_description("Mean time of a record from the call of send to the request that has it.")
        .with_callback(observe)
        .build()
}
