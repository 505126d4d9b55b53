//! The gauges from librdkafka's statistics, <https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md>: the lag
//! of a consumer ("partitions") and the queue time of a producer ("brokers").

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, ObservableGauge};
use otel_messaging::attributes::partition_id;
use rdkafka::Statistics;

use crate::kafka::ClientInstrumentation;
use crate::metrics;

/// The gauges of a client, which exist as long as the client.
#[derive(Debug, Default)]
pub(crate) struct StatisticsGauges {
    lag: Gauge<u64>,
    queue_time: Gauge<f64>,
}

impl StatisticsGauges {
    /// Takes the values from librdkafka's statistics in JSON. Statistics that cannot be parsed change nothing.
    pub(crate) fn observe(&self, kafka: &ClientInstrumentation, statistics: &[u8]) {
        let messaging = kafka.messaging();
        let (lag, queue_time) = (messaging.records_consumer_lag(), messaging.records_queue_time());
        if !lag && !queue_time {
            return;
        }
        let Some(meter) = messaging.meter() else { return };
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        if lag {
            self.lag.set(meter, lags(kafka, &statistics), metrics::consumer_lag);
        }
        if queue_time {
            self.queue_time.set(meter, queue_time_of(kafka, &statistics), metrics::queue_time);
        }
    }
}

/// The values of a gauge with their attributes.
type Values<T> = Vec<(Vec<KeyValue>, T)>;

/// A gauge with the values of the last statistics.
#[derive(Debug)]
struct Gauge<T> {
    values: Arc<Mutex<Values<T>>>,
    instrument: OnceLock<ObservableGauge<T>>,
}

impl<T> Default for Gauge<T> {
    fn default() -> Self {
        Self { values: Arc::default(), instrument: OnceLock::new() }
    }
}

impl<T: Copy + Send + 'static> Gauge<T> {
    fn set(
        &self,
        meter: &Meter,
        values: Values<T>,
        create: impl FnOnce(&Meter, metrics::Observe<T>) -> ObservableGauge<T>,
    ) {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = values;
        self.instrument.get_or_init(|| {
            // The callback outlives the client.
            let values = Arc::downgrade(&self.values);
            create(
                meter,
                Box::new(move |observer| {
                    let Some(values) = values.upgrade() else { return };
                    for (attributes, value) in &*values.lock().unwrap_or_else(PoisonError::into_inner) {
                        observer.observe(*value, attributes);
                    }
                }),
            )
        });
    }
}

/// Returns the lag of each partition. A partition without lag is one that is not fetched.
fn lags(kafka: &ClientInstrumentation, statistics: &Statistics) -> Values<u64> {
    let mut lags = Vec::new();
    for topic in statistics.topics.values() {
        let destination = kafka.topic(&topic.topic);
        if !destination.is_recorded() {
            continue;
        }
        // A partition that was revoked stays in the statistics, and another member has its lag.
        let fetched = topic.partitions.values().filter(|partition| partition.fetch_state == "active");
        for partition in fetched {
            // Negative as long as the lag is unknown.
            let Ok(lag) = u64::try_from(partition.consumer_lag) else { continue };
            let mut attributes = destination.metric_attributes().to_vec();
            attributes.extend(partition_id(i64::from(partition.partition)));
            lags.push((attributes, lag));
        }
    }
    lags
}

/// Returns the mean queue time of all records that were written to a broker in the last interval, in seconds. Without such
/// records there is none.
fn queue_time_of(kafka: &ClientInstrumentation, statistics: &Statistics) -> Values<f64> {
    let windows = statistics.brokers.values().filter_map(|broker| broker.int_latency.as_ref());
    let (micros, records) =
        windows.fold((0.0, 0.0), |(sum, count), window| (sum + window.sum as f64, count + window.cnt as f64));
    if records == 0.0 {
        return Vec::new();
    }
    let attributes = kafka.messaging().no_destination().metric_attributes().to_vec();
    vec![(attributes, micros / records / 1e6)]
}
