//! The telemetry of one definition, prepared once: names, attributes, series.
//!
//! Follows `docs/conventions.md`. A definition has few steps, and an attempt only refers to them.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use otel_operation::{
    AttributedCounter, AttributedHistogram, ERROR_TYPE, LazyInstruments, Outcome, SmallOnceMap, intern,
};

use super::metrics::SagaInstruments;
use super::names;
use crate::definition::Definition;
use crate::flow::{Phase, StepKind};

/// The number of error types with a prepared series per step and phase; further ones are built at each use.
const CLASSES: usize = 8;

/// The prepared telemetry of one definition.
#[derive(Debug)]
pub(crate) struct Prepared {
    instruments: Arc<LazyInstruments<SagaInstruments>>,
    name: Arc<str>,
    version: u32,
    /// The name of a start's span.
    pub(super) span_start: Cow<'static, str>,
    steps: Vec<PreparedStep>,
    ended: SmallOnceMap<&'static str, AttributedHistogram<f64>, 2>,
    recoveries: OnceLock<AttributedCounter>,
    conflicts: OnceLock<AttributedCounter>,
}

#[derive(Debug)]
struct PreparedStep {
    name: Arc<str>,
    kind: &'static str,
    action: PhaseTelemetry,
    compensation: PhaseTelemetry,
    retries: OnceLock<AttributedCounter>,
}

#[derive(Debug)]
struct PhaseTelemetry {
    /// The name of an attempt's span.
    span: Cow<'static, str>,
    durations: SmallOnceMap<Option<&'static str>, AttributedHistogram<f64>, CLASSES>,
}

impl PhaseTelemetry {
    fn new(prefix: &str, step: &str) -> Self {
        Self { span: intern(&format!("{prefix} {step}")), durations: SmallOnceMap::new() }
    }
}

impl Prepared {
    pub(super) fn new<S>(
        instruments: Arc<LazyInstruments<SagaInstruments>>,
        definition: &Definition<S>,
    ) -> Self {
        let steps = definition.specs.iter().zip(&definition.steps).map(|(spec, step)| PreparedStep {
            name: Arc::clone(&step.name),
            kind: kind(spec.kind),
            action: PhaseTelemetry::new(names::SPAN_STEP, &step.name),
            compensation: PhaseTelemetry::new(names::SPAN_COMPENSATE, &step.name),
            retries: OnceLock::new(),
        });
        Self {
            instruments,
            name: definition.name.as_str().into(),
            version: definition.version,
            span_start: intern(&format!("{} {}", names::SPAN_START, definition.name)),
            steps: steps.collect(),
            ended: SmallOnceMap::new(),
            recoveries: OnceLock::new(),
            conflicts: OnceLock::new(),
        }
    }

    fn step(&self, step: u16) -> Option<&PreparedStep> {
        self.steps.get(usize::from(step))
    }

    fn phase(&self, step: u16, phase: Phase) -> Option<&PhaseTelemetry> {
        self.step(step).map(|step| match phase {
            Phase::Action => &step.action,
            Phase::Compensation => &step.compensation,
        })
    }

    /// Returns the name of an attempt's span.
    pub(super) fn span(&self, step: u16, phase: Phase) -> Cow<'static, str> {
        self.phase(step, phase).map_or(Cow::Borrowed(names::SPAN_STEP), |phase| phase.span.clone())
    }

    /// Returns the attributes of all spans of an instance, with capacity for `more`.
    pub(super) fn instance(&self, id: &Arc<str>, more: usize) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(3 + more);
        attributes.push(self.named());
        attributes.push(KeyValue::new(names::SAGA_VERSION, i64::from(self.version)));
        attributes.push(KeyValue::new(names::SAGA_ID, Arc::clone(id)));
        attributes
    }

    /// Returns the name of the span of a resolution.
    pub(super) fn resolution_span(&self, step: u16) -> Cow<'static, str> {
        let step = self.step(step).map_or("", |step| &*step.name);
        Cow::Owned(format!("{} {step}", names::SPAN_RESOLVE))
    }

    /// Returns the attributes of all spans of a step, with capacity for `more`.
    pub(super) fn step_attributes(&self, id: &Arc<str>, step: u16, more: usize) -> Vec<KeyValue> {
        let mut attributes = self.instance(id, 2 + more);
        if let Some(step) = self.step(step) {
            attributes.push(step.named());
            attributes.push(KeyValue::new(names::STEP_KIND, step.kind));
        }
        attributes
    }

    /// Returns the attributes of an attempt's span, with capacity for `more`.
    pub(super) fn attempt(
        &self,
        id: &Arc<str>,
        (step, phase): (u16, Phase),
        attempt: u32,
        more: usize,
    ) -> Vec<KeyValue> {
        let mut attributes = self.step_attributes(id, step, 2 + more);
        attributes.push(KeyValue::new(names::STEP_ATTEMPT, i64::from(attempt)));
        attributes.push(KeyValue::new(names::PHASE, text(phase)));
        attributes
    }

    /// Records the duration of an attempt.
    pub(super) fn attempted(&self, step: u16, phase: Phase, outcome: &Outcome, elapsed: Duration) {
        let (Some(instruments), Some(prepared)) = (self.instruments.get(), self.step(step)) else { return };
        let make = || {
            let mut attributes = vec![self.named(), prepared.named()];
            attributes.push(KeyValue::new(names::PHASE, text(phase)));
            attributes.extend(outcome.error_type().map(|error| KeyValue::new(ERROR_TYPE, error.clone())));
            instruments.step_duration(attributes)
        };
        let record = |series: &AttributedHistogram<f64>| series.record(elapsed.as_secs_f64());
        let class = match outcome.error_type() {
            None => None,
            Some(Cow::Borrowed(class)) => Some(*class),
            // A class that is not static is not stored as a key.
            Some(Cow::Owned(_)) => return record(&make()),
        };
        if let Some(phase) = self.phase(step, phase) {
            phase.durations.get_or_init_with(class, make, record);
        }
    }

    /// Records the duration of an instance that has ended.
    pub(crate) fn ended(&self, outcome: &'static str, elapsed: Duration) {
        let Some(instruments) = self.instruments.get() else { return };
        let make = || instruments.duration(vec![self.named(), KeyValue::new(names::OUTCOME, outcome)]);
        self.ended.get_or_init_with(outcome, make, |series| series.record(elapsed.as_secs_f64()));
    }

    /// Counts an attempt after the first one.
    pub(crate) fn retried(&self, step: u16) {
        if let (Some(instruments), Some(step)) = (self.instruments.get(), self.step(step)) {
            step.retries.get_or_init(|| instruments.retries(vec![self.named(), step.named()])).add(1);
        }
    }

    /// Counts an instance that was resumed after an interrupted attempt.
    pub(crate) fn recovered(&self) {
        if let Some(instruments) = self.instruments.get() {
            self.recoveries.get_or_init(|| instruments.recoveries(vec![self.named()])).add(1);
        }
    }

    /// Counts an append that failed because the instance had changed.
    pub(crate) fn conflicted(&self) {
        if let Some(instruments) = self.instruments.get() {
            self.conflicts.get_or_init(|| instruments.conflicts(vec![self.named()])).add(1);
        }
    }

    fn named(&self) -> KeyValue {
        KeyValue::new(names::SAGA_NAME, Arc::clone(&self.name))
    }
}

impl PreparedStep {
    fn named(&self) -> KeyValue {
        KeyValue::new(names::STEP_NAME, Arc::clone(&self.name))
    }
}

fn text(phase: Phase) -> &'static str {
    match phase {
        Phase::Action => "action",
        Phase::Compensation => "compensation",
    }
}

fn kind(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Compensatable => "compensatable",
        StepKind::Pivot => "pivot",
        StepKind::Forward => "forward",
    }
}
