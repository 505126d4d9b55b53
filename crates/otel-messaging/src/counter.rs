//! Counters of one client that the conventions do not define, such as of rebalances or of messages without context.
//!
//! Their attributes are those of the client's metrics:
//! <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/>.

use std::fmt;
use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use otel_operation::{AttributedCounter, SmallOnceMap};

use crate::client::ClientState;

/// The maximum number of prepared attribute sets of one counter. A set beyond the limit is built at each use.
const SETS: usize = 8;

type Attribute = (&'static str, &'static str);

/// A counter of one client, created at first use. Its attributes are the system, the server and the consumer of the
/// client, and at most one more.
pub struct ClientCounter {
    client: Arc<ClientState>,
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    counter: OnceLock<Counter<u64>>,
    series: SmallOnceMap<Option<Attribute>, AttributedCounter, SETS>,
}

impl ClientCounter {
    pub(crate) fn new(
        client: Arc<ClientState>,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        let (counter, series) = (OnceLock::new(), SmallOnceMap::new());
        Self { client, name, unit, description, counter, series }
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.add_to(None, count);
    }

    /// Adds `count` to the series with this attribute.
    pub fn add_with(&self, key: &'static str, value: &'static str, count: u64) {
        self.add_to(Some((key, value)), count);
    }

    fn add_to(&self, attribute: Option<Attribute>, count: u64) {
        let Some(meter) = self.client.meter.get() else { return };
        let counter = self.counter.get_or_init(|| {
            meter.u64_counter(self.name).with_unit(self.unit).with_description(self.description).build()
        });
        let make = || {
            let mut attributes = self.client.metric_attributes.clone();
            attributes.extend(self.client.consumer_attributes(None, None));
            attributes.extend(attribute.map(|(key, value)| KeyValue::new(key, value)));
            AttributedCounter::new(counter, attributes)
        };
        self.series.get_or_init_with(attribute, make, |series| series.add(count));
    }
}

impl fmt::Debug for ClientCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCounter").field("name", &self.name).finish_non_exhaustive()
    }
}
