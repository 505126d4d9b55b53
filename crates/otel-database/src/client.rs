//! The state that all statements of one client share: its tracer, its instruments, its options and the facts of its
//! configuration.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#span-definition).

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::{LazyInstruments, Tracer};

use crate::attributes::{NAMESPACE, SERVER_ADDRESS, SERVER_PORT, SYSTEM_NAME, shared};
use crate::metrics::OperationInstruments;
use crate::options::Options;
use crate::sql::Dialect;

/// The facts of a client's configuration. They are recorded unless the user's options say otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientFacts {
    pub(crate) server: Option<(Arc<str>, Option<u16>)>,
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) is_namespace_in_names: bool,
    pub(crate) dialect: Dialect,
}

#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) system: &'static str,
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    pub(crate) instruments: LazyInstruments<OperationInstruments>,
    meter: LazyInstruments<Meter>,
    pub(crate) attributes: Vec<KeyValue>,
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
        facts.namespace = options.namespace.clone().or(facts.namespace);
        let mut attributes = vec![KeyValue::new(SYSTEM_NAME, system)];
        attributes.extend(facts.namespace.as_deref().map(|namespace| shared(NAMESPACE, namespace)));
        if let Some((address, port)) = &facts.server {
            attributes.push(shared(SERVER_ADDRESS, address));
            attributes.extend(port.map(|port| KeyValue::new(SERVER_PORT, i64::from(port))));
        }
        Self {
            system,
            tracer: options.providers.tracer(scope.clone()),
            instruments: options.providers.instruments(scope.clone(), OperationInstruments::new),
            meter: options.providers.instruments(scope, Meter::clone),
            options,
            attributes,
            facts,
        }
    }

    /// Returns true while neither a tracer nor a meter provider is installed, so that an operation would record nothing.
    #[inline]
    pub(crate) fn records_nothing(&self) -> bool {
        !self.options.is_recording || (self.instruments.get().is_none() && self.tracer.is_noop())
    }

    /// Returns the meter, or `None` if nothing is recorded.
    #[inline]
    pub(crate) fn meter(&self) -> Option<&Meter> {
        if self.options.is_recording { self.meter.get() } else { None }
    }

    /// Returns the target in the name of an operation without a collection: the database, else the server.
    pub(crate) fn target(&self) -> Option<String> {
        let namespace = self.facts.namespace.as_deref().filter(|_| self.facts.is_namespace_in_names);
        let server = || match &self.facts.server {
            Some((address, Some(port))) => Some(format!("{address}:{port}")),
            Some((address, None)) => Some(address.to_string()),
            None => None,
        };
        namespace.map(str::to_owned).or_else(server)
    }
}
