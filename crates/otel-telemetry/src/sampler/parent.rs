//! Following a parent's decision, and the sampler that has a delegate for each kind of parent.
//!
//! Follows the [Trace SDK, `ParentBased`](https://opentelemetry.io/docs/specs/otel/trace/sdk/#parentbased) and the
//! [probability sampling specification](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/)
//! (parent-based threshold).

use opentelemetry::trace::{SpanContext, TraceId};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult};

use super::{Sampler, Span, tracestate};

/// A sampler that asks one of five others, by the parent of the span. Turn it into a [`Sampler`] with `into()`.
///
/// Without a delegate of its own, a sampled parent's child is sampled and an unsampled parent's child is dropped; the
/// parent's `tracestate`, with its `th` and `rv`, passes unchanged. Only a `th` that cannot be true is left out: one
/// that would have rejected the trace that is marked as sampled. What a delegate decides is taken as a whole,
/// its `tracestate` included. Specification: *SDK*, `ParentBased`.
#[derive(Clone, Debug)]
pub struct ParentBased {
    root: Sampler,
    remote_sampled: Option<Sampler>,
    remote_not_sampled: Option<Sampler>,
    local_sampled: Option<Sampler>,
    local_not_sampled: Option<Sampler>,
}

impl ParentBased {
    /// Asks `root` about spans without a parent, and follows the parent everywhere else.
    #[must_use]
    pub fn new(root: impl Into<Sampler>) -> Self {
        Self {
            root: root.into(),
            remote_sampled: None,
            remote_not_sampled: None,
            local_sampled: None,
            local_not_sampled: None,
        }
    }

    /// Asks `sampler` about spans whose parent is in another process and sampled.
    #[must_use]
    pub fn with_remote_parent_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.remote_sampled = Some(sampler.into());
        self
    }

    /// Asks `sampler` about spans whose parent is in another process and not sampled.
    #[must_use]
    pub fn with_remote_parent_not_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.remote_not_sampled = Some(sampler.into());
        self
    }

    /// Asks `sampler` about spans whose parent is in this process and sampled.
    #[must_use]
    pub fn with_local_parent_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.local_sampled = Some(sampler.into());
        self
    }

    /// Asks `sampler` about spans whose parent is in this process and not sampled.
    #[must_use]
    pub fn with_local_parent_not_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.local_not_sampled = Some(sampler.into());
        self
    }

    pub(super) fn decide(&self, span: &Span<'_>) -> SamplingResult {
        let Some(parent) = span.parent else { return self.root.decide(span) };
        let delegate = match (parent.is_remote(), parent.is_sampled()) {
            (true, true) => &self.remote_sampled,
            (true, false) => &self.remote_not_sampled,
            (false, true) => &self.local_sampled,
            (false, false) => &self.local_not_sampled,
        };
        match delegate {
            Some(sampler) => sampler.decide(span),
            None => follow(parent, span.trace_id),
        }
    }
}

/// The parent's decision, with the parent's state.
pub(super) fn follow(parent: &SpanContext, trace_id: TraceId) -> SamplingResult {
    let state = parent.trace_state();
    if !parent.is_sampled() {
        return super::result(SamplingDecision::Drop, state.clone());
    }
    let untrue = tracestate::threshold(state)
        .is_some_and(|threshold| !threshold.keeps(tracestate::randomness(Some(state), trace_id)));
    let state = if untrue { tracestate::without_threshold(Some(state)) } else { state.clone() };
    super::result(SamplingDecision::RecordAndSample, state)
}
