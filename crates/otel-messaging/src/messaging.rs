//! The instrumentation of one client: its tracer, instruments and options, and the cache of its destinations.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). Attributes that all
//! operations of a client share are built once.

use std::sync::Arc;

use opentelemetry::{Context, InstrumentationScope, KeyValue};
use otel_operation::{BoundedCache, LazyInstruments, Tracer, catch_panic};
use otel_propagation::HeaderReader;

use crate::attributes::{CLIENT_ID, SERVER_ADDRESS, SERVER_PORT, SYSTEM};
use crate::config::Options;
use crate::destination::{Destination, DestinationDescription, PreparedDestination, text};
use crate::metrics::{MessagingInstruments, Series};

/// The maximum number of destinations per client with their own span names and metrics, because subjects and routing
/// keys can be unlimited in number.
const DESTINATIONS: usize = 512;

/// The maximum number of consumer groups and subscriptions with separate metrics for destinations beyond
/// `DESTINATIONS`.
const CONSUMERS: usize = 64;

/// The instrumentation of one client of a broker: a producer, a consumer or a connection. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct MessagingInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Arc<ClientState>,
    destinations: BoundedCache<PreparedDestination>,
    /// The metrics of destinations beyond the limit, by consumer group and subscription.
    overflow: BoundedCache<Series>,
    /// The metrics of operations without a destination.
    no_series: Arc<Series>,
    without_destination: Destination,
}

/// The state that all destinations of a client share.
#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    pub(crate) instruments: LazyInstruments<MessagingInstruments>,
    pub(crate) span_attributes: Vec<KeyValue>,
    pub(crate) metric_attributes: Vec<KeyValue>,
}

impl MessagingInstrumentation {
    /// Creates the instrumentation of a client. `system` is the value of `messaging.system`. `scope` is the transport
    /// crate's own instrumentation scope, with its name, version and
    /// [`attributes::SCHEMA_URL`](crate::attributes::SCHEMA_URL).
    #[must_use]
    pub fn new(system: &'static str, scope: InstrumentationScope, options: Options) -> Self {
        let mut metric_attributes = vec![KeyValue::new(SYSTEM, system)];
        if let Some((address, port)) = &options.server {
            metric_attributes.push(KeyValue::new(SERVER_ADDRESS, Arc::clone(address)));
            metric_attributes.push(KeyValue::new(SERVER_PORT, i64::from(*port)));
        }
        let mut span_attributes = metric_attributes.clone();
        span_attributes.extend(options.client_id.as_deref().map(|id| text(CLIENT_ID, id)));
        let core = Arc::new(ClientState {
            tracer: options.providers.tracer(scope.clone()),
            instruments: options.providers.instruments(scope, MessagingInstruments::new),
            options,
            span_attributes,
            metric_attributes,
        });
        let no_series = Arc::new(Series::new(core.metric_attributes.clone()));
        Self(Arc::new(Inner {
            without_destination: Destination(Arc::new(PreparedDestination::without_destination(
                &core,
                Arc::clone(&no_series),
            ))),
            destinations: BoundedCache::new(DESTINATIONS),
            overflow: BoundedCache::new(CONSUMERS),
            no_series,
            core,
        }))
    }

    /// Returns the destination for `key`, preparing it from `parts` at first use. The key must identify the complete
    /// description: destinations of one client that differ in any part need different keys.
    ///
    /// A client caches 512 destinations. A destination beyond that limit is prepared at each use, and its name
    /// appears only in the attributes of its spans, neither in span names nor on metrics. If names are unlimited in
    /// number, give the destination a template and use the template as the key.
    #[must_use]
    pub fn destination<'a>(&self, key: &str, parts: impl Fn() -> DestinationDescription<'a>) -> Destination {
        let Inner { core, destinations, overflow, no_series, .. } = &*self.0;
        if let Some(kept) = destinations.get_or_insert(key, || PreparedDestination::new(core, &parts())) {
            return Destination(kept);
        }
        let parts = parts();
        let series = overflow
            .get_or_insert(&parts.consumer_key(), || Series::new(parts.overflow_metric_attributes(core)))
            .unwrap_or_else(|| Arc::clone(no_series));
        Destination(Arc::new(PreparedDestination::overflow(core, &parts, series)))
    }

    /// Returns the target for operations without a destination or with several, such as a transaction or a commit of
    /// many partitions. Their spans are named after the broker's address, if it is known.
    #[must_use]
    pub fn no_destination(&self) -> &Destination {
        &self.0.without_destination
    }

    /// Extracts the context that a message carries. Headers without a valid context yield an empty context, and so does a
    /// propagator that panics.
    #[must_use]
    pub fn extract<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        catch_panic(|| self.0.core.options.propagation.extract(headers)).unwrap_or_default()
    }

    /// The context that a message carries, without its baggage, which is then not parsed: for a link.
    #[must_use]
    pub fn extract_without_baggage<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        catch_panic(|| self.0.core.options.propagation.extract_without_baggage(headers)).unwrap_or_default()
    }
}
