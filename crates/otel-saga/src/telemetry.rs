//! The telemetry of sagas: spans of starts and attempts, metrics, alerts.
//!
//! Follows `docs/conventions.md` and `docs/sagas.md`, "Traces": attempts are children of the persisted start span,
//! because a span above them that is still open would be lost with the process.

mod attempt;
mod metrics;
pub mod names;
mod prepared;
mod trace;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use otel_operation::{LazyInstruments, Providers, Tracer};

pub(crate) use self::attempt::{AttemptOperation, AttemptSpan, ResolutionSpan, restart_span};
use self::metrics::{SagaGauge, SagaInstruments};
pub(crate) use self::prepared::Prepared;
pub(crate) use self::trace::{carried, hexadecimal, parent, parse_traceparent, traceparent};
use crate::definition::Definition;
#[cfg(feature = "tracing")]
use crate::error::with_causes;
use crate::journal::{InstanceCount, Status};
use crate::two_phase::is_transaction;

/// The tracer and the instruments of a runtime.
#[derive(Debug)]
pub(crate) struct Telemetry {
    tracer: Tracer,
    instruments: Arc<LazyInstruments<SagaInstruments>>,
}

impl Telemetry {
    pub(crate) fn new(providers: &Providers) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let instruments = Arc::new(providers.instruments(scope.clone(), SagaInstruments::new));
        Self { tracer: providers.tracer(scope), instruments }
    }

    /// Prepares the telemetry of a definition.
    pub(crate) fn prepare<S>(&self, definition: &Definition<S>) -> Prepared {
        Prepared::new(Arc::clone(&self.instruments), definition)
    }

    pub(crate) fn appended(&self, elapsed: Duration, error: Option<&'static str>) {
        if let Some(instruments) = self.instruments.get() {
            instruments.appended(elapsed, error);
        }
    }

    /// Sets the gauges from the journal's counts. These sagas, and all others in the counts, are recorded in each status,
    /// with 0 if the journal has none.
    pub(crate) fn counted(&self, sagas: &[&str], counts: &[InstanceCount], now: u64) {
        let Some(instruments) = self.instruments.get() else { return };
        let counted = counts.iter().map(|count| &*count.saga).filter(|saga| !is_transaction(saga));
        let sagas: BTreeSet<&str> = sagas.iter().copied().chain(counted).collect();
        let mut gauges = Vec::with_capacity(sagas.len() * Status::ALL.len());
        for saga in sagas {
            for status in Status::ALL {
                let held = counts.iter().find(|one| one.saga == saga && one.status == status);
                let age = held.map_or(0, |one| now.saturating_sub(one.oldest));
                let age = (!status.is_finished()).then(|| Duration::from_millis(age));
                gauges.push(SagaGauge::new(saga, status.as_str(), held.map_or(0, |one| one.count), age));
            }
        }
        instruments.set_gauges(gauges);
    }

    /// Stops recording the gauges, because another worker does, or none.
    pub(crate) fn clear_gauges(&self) {
        if let Some(instruments) = self.instruments.get() {
            instruments.set_gauges(Vec::new());
        }
    }
}

/// Raises an alert with the error and its causes: an ERROR event of the `tracing` crate, with the feature of that name.
pub(crate) fn alert(id: &str, step: &str, what: &str, error: &dyn Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(saga.id = id, saga.step.name = step, error = with_causes(error), "{what}");
    #[cfg(not(feature = "tracing"))]
    let _ = (id, step, what, error);
}
