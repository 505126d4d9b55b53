//! The state that all destinations of one client share: its tracer, its instruments, its options and the facts of its
//! configuration.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Messaging attributes".

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue};
use otel_operation::{LazyInstruments, Tracer, catch_panic};
use otel_propagation::HeaderReader;

use crate::attributes::{
    CLIENT_ID, CONSUMER_GROUP_NAME, DESTINATION_SUBSCRIPTION_NAME, SERVER_ADDRESS, SERVER_PORT, SYSTEM,
    bounded,
};
use crate::metrics::MessagingInstruments;
use crate::options::Options;

/// The facts of a client's configuration. They are recorded unless the user's options or a destination say otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientFacts {
    pub(crate) client_id: Option<Arc<str>>,
    pub(crate) server: Option<(Arc<str>, u16)>,
    pub(crate) consumer_group: Option<String>,
    pub(crate) subscription: Option<String>,
}

#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    pub(crate) instruments: LazyInstruments<MessagingInstruments>,
    pub(crate) meter: LazyInstruments<Meter>,
    pub(crate) span_attributes: Vec<KeyValue>,
    pub(crate) metric_attributes: Vec<KeyValue>,
    pub(crate) facts: ClientFacts,
}

impl ClientState {
    pub(crate) fn new(
        system: &'static str,
        scope: InstrumentationScope,
        mut facts: ClientFacts,
        options: Options,
    ) -> Self {
        facts.server = options.server.clone().or(facts.server);
        let mut metric_attributes = vec![KeyValue::new(SYSTEM, system)];
        if let Some((address, port)) = &facts.server {
            metric_attributes.push(KeyValue::new(SERVER_ADDRESS, Arc::clone(address)));
            metric_attributes.push(KeyValue::new(SERVER_PORT, i64::from(*port)));
        }
        let mut span_attributes = metric_attributes.clone();
        let client_id = options.client_id.as_deref().or(facts.client_id.as_deref());
        span_attributes.extend(client_id.map(|id| bounded_attribute(CLIENT_ID, id)));
        Self {
            tracer: options.providers.tracer(scope.clone()),
            instruments: options.providers.instruments(scope.clone(), MessagingInstruments::new),
            meter: options.providers.instruments(scope, Meter::clone),
            options,
            span_attributes,
            metric_attributes,
            facts,
        }
    }

    /// Returns true while neither a tracer nor a meter provider is installed, so that an operation would record nothing.
    #[inline]
    pub(crate) fn records_nothing(&self) -> bool {
        self.instruments.get().is_none() && self.tracer.is_noop()
    }

    /// Returns true while nothing of OpenTelemetry is installed.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.instruments.get().is_none() && self.options.propagation.is_noop() && self.tracer.is_noop()
    }

    /// Extracts the context that a message carries. A propagator that panics yields an empty context.
    pub(crate) fn extract<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        catch_panic(|| self.options.propagation.extract(headers)).unwrap_or_default()
    }

    /// Extracts the context without its baggage, which is then not parsed.
    pub(crate) fn extract_without_baggage<C: HeaderReader + ?Sized>(&self, headers: &C) -> Context {
        catch_panic(|| self.options.propagation.extract_without_baggage(headers)).unwrap_or_default()
    }

    /// Returns the attributes of the consumer, which are the same on spans and on metrics: the given ones, or else the
    /// client's.
    pub(crate) fn consumer_attributes<'c>(
        &'c self,
        group: Option<&'c str>,
        subscription: Option<&'c str>,
    ) -> impl Iterator<Item = KeyValue> + 'c {
        let group = group.or(self.facts.consumer_group.as_deref());
        let subscription = subscription.or(self.facts.subscription.as_deref());
        [(CONSUMER_GROUP_NAME, group), (DESTINATION_SUBSCRIPTION_NAME, subscription)]
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| bounded_attribute(key, value)))
    }
}

/// Returns an attribute whose value is truncated to 512 bytes and shared by its clones.
pub(crate) fn bounded_attribute(key: impl Into<Key>, value: &str) -> KeyValue {
    KeyValue::new(key, Arc::<str>::from(bounded(value)))
}
