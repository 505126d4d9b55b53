//! The instrumentation of one client: where its spans and metrics go, and the destinations that it knows.
//!
//! Follows the messaging semantic conventions: what is the same for all operations of a client is prepared once.

use std::sync::Arc;

use opentelemetry::{Context, InstrumentationScope, KeyValue};
use otel_operation::{Instruments, Interned, Tracer};
use otel_propagation::HeaderReader;

use crate::attributes::{CLIENT_ID, SERVER_ADDRESS, SERVER_PORT, SYSTEM};
use crate::config::Options;
use crate::destination::{Destination, DestinationParts, Prepared, text};
use crate::metrics::{MessagingInstruments, Series};

/// Destinations that have names and metrics of their own, for each client: subjects and routing keys may be without
/// number.
const DESTINATIONS: usize = 512;

/// Groups and subscriptions that are told apart on the metrics of destinations beyond that.
const CONSUMERS: usize = 64;

/// The instrumentation of one client of a broker: a producer, a consumer, a connection. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Messaging(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    destinations: Interned<Prepared>,
    /// The metrics of destinations beyond the bound, by group and subscription.
    unnamed: Interned<Series>,
    /// The metrics of what has no destination.
    no_series: Arc<Series>,
    nowhere: Destination,
}

/// What all destinations of a client share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    pub(crate) instruments: Instruments<MessagingInstruments>,
    pub(crate) span_attributes: Vec<KeyValue>,
    pub(crate) metric_attributes: Vec<KeyValue>,
}

impl Messaging {
    /// The instrumentation of a client. `system` is the value of `messaging.system`; the scope is the transport's
    /// own, with its name, its version and [`attributes::SCHEMA_URL`](crate::attributes::SCHEMA_URL).
    #[must_use]
    pub fn new(system: &'static str, scope: InstrumentationScope, options: Options) -> Self {
        let mut metric_attributes = vec![KeyValue::new(SYSTEM, system)];
        if let Some((address, port)) = &options.server {
            metric_attributes.push(KeyValue::new(SERVER_ADDRESS, Arc::clone(address)));
            metric_attributes.push(KeyValue::new(SERVER_PORT, i64::from(*port)));
        }
        let mut span_attributes = metric_attributes.clone();
        span_attributes.extend(options.client_id.as_deref().map(|id| text(CLIENT_ID, id)));
        let core = Arc::new(Core {
            tracer: options.providers.tracer(scope.clone()),
            instruments: options.providers.instruments(scope, MessagingInstruments::new),
            options,
            span_attributes,
            metric_attributes,
        });
        let no_series = Arc::new(Series::new(core.metric_attributes.clone()));
        Self(Arc::new(Inner {
            nowhere: Destination(Arc::new(Prepared::nowhere(&core, Arc::clone(&no_series)))),
            destinations: Interned::new(DESTINATIONS),
            unnamed: Interned::new(CONSUMERS),
            no_series,
            core,
        }))
    }

    /// The destination of this key, which is prepared at the first use out of `parts`. A key stands for all of the
    /// parts: where two destinations of one client differ in any, their keys differ.
    ///
    /// 512 destinations are kept. Those beyond have neither a name on metrics nor one in the names of their spans,
    /// only among the attributes of their spans, and they are prepared at each use: where names are without number,
    /// give them a template, and use that as the key.
    #[must_use]
    pub fn destination<'a>(&self, key: &str, parts: impl Fn() -> DestinationParts<'a>) -> Destination {
        let Inner { core, destinations, unnamed, no_series, .. } = &*self.0;
        if let Some(kept) = destinations.get_or_insert(key, || Prepared::new(core, &parts())) {
            return Destination(kept);
        }
        let parts = parts();
        let series = unnamed
            .get_or_insert(&parts.consumer_key(), || Series::new(parts.unnamed_metric_attributes(core)))
            .unwrap_or_else(|| Arc::clone(no_series));
        Destination(Arc::new(Prepared::unnamed(core, &parts, series)))
    }

    /// For operations without a destination, or with several: a transaction, a commit of many partitions. Their spans
    /// are named after the broker's address, if that is known.
    #[must_use]
    pub fn no_destination(&self) -> &Destination {
        &self.0.nowhere
    }

    /// The context that a message carries. Headers that do not hold one give an empty context.
    #[must_use]
    pub fn extract<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        self.0.core.options.propagation.extract(headers)
    }

    /// The context that a message carries, without its baggage, which is then not parsed: for a link.
    #[must_use]
    pub fn extract_without_baggage<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        self.0.core.options.propagation.extract_without_baggage(headers)
    }
}
