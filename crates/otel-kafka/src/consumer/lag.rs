//! The lag of a consumer, from librdkafka's statistics:
//! <https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md>, "partitions".

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::ObservableGauge;
use otel_messaging::attributes::partition_id;
use rdkafka::Statistics;

use crate::kafka::ClientInstrumentation;
use crate::metrics;

/// The lag of each partition in the last statistics. A partition without lag is one that is not fetched.
type Lags = Arc<Mutex<Vec<(Vec<KeyValue>, u64)>>>;

/// The gauge of the lag, which exists as long as the client.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    lags: Lags,
    gauge: OnceLock<ObservableGauge<u64>>,
}

impl Lag {
    /// Takes the lags from librdkafka's statistics in JSON. Statistics that cannot be parsed change nothing.
    pub(crate) fn observe(&self, kafka: &ClientInstrumentation, statistics: &[u8]) {
        let messaging = kafka.messaging();
        if !messaging.records_consumer_lag() {
            return;
        }
        let Some(meter) = messaging.meter() else { return };
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        *self.lags.lock().unwrap_or_else(PoisonError::into_inner) = lags(kafka, &statistics);
        self.gauge.get_or_init(|| {
            // The callback outlives the client.
            let lags = Arc::downgrade(&self.lags);
            metrics::consumer_lag(meter, move |observer| {
                let Some(lags) = lags.upgrade() else { return };
                for (attributes, lag) in &*lags.lock().unwrap_or_else(PoisonError::into_inner) {
                    observer.observe(*lag, attributes);
                }
            })
        });
    }
}

fn lags(kafka: &ClientInstrumentation, statistics: &Statistics) -> Vec<(Vec<KeyValue>, u64)> {
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
