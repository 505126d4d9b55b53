//! What a harness reports: what the caller saw, what reached the peer, and what was current inside user code.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::{
    Context,
    baggage::BaggageExt,
    trace::{SpanContext, TraceContextExt},
};

/// How the operation looked to whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallResult {
    /// It gave this: status and payload, in any form that the harness likes.
    Value(Vec<u8>),
    /// It failed with this text. Ephemeral ports in it do not matter.
    Error(String),
    /// It panicked.
    Panicked,
    /// It was given up, so nothing was seen.
    Cancelled,
}

/// What a harness saw in one run.
#[derive(Clone, Debug)]
pub struct Observed {
    pub(super) instrumented: CallResult,
    pub(super) bare: CallResult,
    pub(super) sent: Vec<(String, Vec<u8>)>,
    pub(super) snapshots: Vec<ContextSnapshot>,
}

impl Observed {
    /// What was seen of the instrumented operation, and of the same operation on the bare transport, which the harness
    /// runs as well. Let the payload go through the handler (an echo), so that a change of it is seen.
    #[must_use]
    pub fn new(instrumented: CallResult, bare: CallResult) -> Self {
        Self { instrumented, bare, sent: Vec::new(), snapshots: Vec::new() }
    }

    /// Outbound: the headers that reached the peer.
    #[must_use]
    pub fn with_sent(mut self, headers: Vec<(String, Vec<u8>)>) -> Self {
        self.sent = headers;
        self
    }

    /// What a probe noted inside user code.
    #[must_use]
    pub fn with_probe(mut self, probe: &ContextProbe) -> Self {
        self.snapshots.extend(probe.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        self
    }
}

/// Where in user code a context was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbePoint {
    /// Where the handler is called, before its future is polled.
    Call,
    /// In the handler, after an await that was pending.
    AfterAwait,
    /// Where the response body or stream is produced.
    Body,
}

/// Notes which context is current in user code. A clone shares its notes with the original, so that one can be moved
/// into a handler.
#[derive(Clone, Debug, Default)]
pub struct ContextProbe(Arc<Mutex<Vec<ContextSnapshot>>>);

#[derive(Clone, Debug)]
pub(super) struct ContextSnapshot {
    pub(super) point: ProbePoint,
    pub(super) span: SpanContext,
    pub(super) baggage: Vec<(String, String)>,
}

impl ContextProbe {
    /// A probe that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what is current now.
    pub fn note(&self, point: ProbePoint) {
        let snapshot = Context::map_current(|cx| ContextSnapshot {
            point,
            span: cx.span().span_context().clone(),
            baggage: cx
                .baggage()
                .iter()
                .map(|(key, (value, _))| (key.to_string(), value.to_string()))
                .collect(),
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(snapshot);
    }
}
