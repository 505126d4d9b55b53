//! The report of a harness on its two runs: the caller's result, the headers that reached the peer, and the context
//! inside user code.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::{
    Context,
    baggage::BaggageExt,
    trace::{SpanContext, TraceContextExt},
};

use crate::Recorder;

/// The result of an operation, as its caller gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallResult {
    /// Status and payload, in any form that the harness likes.
    Value(Vec<u8>),
    /// An error with this text. Ephemeral ports in it do not matter.
    Error(String),
    /// A panic.
    Panicked,
    /// The caller gave the operation up after it had received these bytes.
    Cancelled(Vec<u8>),
}

/// One run of a scenario's flow: what its caller got, and which points of user code it reached.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) result: CallResult,
    pub(super) snapshots: Vec<ContextSnapshot>,
}

impl Run {
    /// A run that has ended. The probe is the one that this run's handler or peer noted its points with.
    #[must_use]
    pub fn new(result: CallResult, probe: &ContextProbe) -> Self {
        Self { result, snapshots: probe.snapshots() }
    }
}

/// The two runs of a scenario, with instrumentation and without.
#[derive(Clone, Debug)]
pub struct Observed {
    pub(super) instrumented: Run,
    pub(super) bare: Run,
    pub(super) sent: Vec<(String, Vec<u8>)>,
}

impl Observed {
    /// The run of the instrumented operation, and that of the same operation on the bare transport. Let the payload go
    /// through the handler (an echo), so that a change of it is seen.
    #[must_use]
    pub fn new(instrumented: Run, bare: Run) -> Self {
        Self { instrumented, bare, sent: Vec::new() }
    }

    /// Outbound: the headers that reached the peer.
    #[must_use]
    pub fn with_sent(mut self, headers: Vec<(String, Vec<u8>)>) -> Self {
        self.sent = headers;
        self
    }
}

/// A point in user code, or at the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbePoint {
    /// The call of the handler or peer, before its future is polled.
    Call,
    /// In the handler or peer, after an await that was pending.
    AfterAwait,
    /// The production of the response body or stream.
    Body,
    /// The arrival of a message at a peer that runs no user code, such as a broker.
    Arrival,
}

/// Notes which points are reached, and which context is current there. A clone shares its notes with the original, so
/// that one can be moved into a handler. Each run has its own probe, the bare one too.
#[derive(Clone, Debug)]
pub struct ContextProbe {
    recorder: Recorder,
    snapshots: Arc<Mutex<Vec<ContextSnapshot>>>,
}

#[derive(Clone, Debug)]
pub(super) struct ContextSnapshot {
    pub(super) point: ProbePoint,
    pub(super) span: SpanContext,
    pub(super) baggage: Vec<(String, String)>,
    /// The sum of the recorder's up-down counters.
    pub(super) in_flight: f64,
}

impl ContextProbe {
    /// A probe without notes, for one run of a scenario that is recorded here.
    #[must_use]
    pub fn new(recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), snapshots: Arc::default() }
    }

    /// Notes what is current now.
    pub fn note(&self, point: ProbePoint) {
        let in_flight = self.recorder.in_flight();
        let snapshot = Context::map_current(|cx| ContextSnapshot {
            point,
            span: cx.span().span_context().clone(),
            baggage: cx
                .baggage()
                .iter()
                .map(|(key, (value, _))| (key.to_string(), value.to_string()))
                .collect(),
            in_flight,
        });
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).push(snapshot);
    }

    fn snapshots(&self) -> Vec<ContextSnapshot> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
