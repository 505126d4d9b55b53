//! The parent-based sampler, which follows the parent or a delegate for each kind of parent.
//!
//! Follows "ParentBased" of the [Trace SDK](https://opentelemetry.io/docs/specs/otel/trace/sdk/#parentbased) and the
//! specification of [probability
//! sampling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/) (parent-based
//! threshold).

use opentelemetry::trace::{SpanContext, TraceId};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult};

use super::{Sampler, Span, tracestate};

/// A sampler that delegates to one of five others, depending on the parent of the span. Convert it into a [`Sampler`]
/// with `into()`.
///
/// Without a delegate, the child of a sampled parent is sampled and the child of an unsampled parent is dropped; the
/// parent's `tracestate`, with its `th` and `rv`, passes unchanged. Only an inconsistent `th` is removed, which would
/// have rejected a trace that is marked as sampled. The result of a delegate is used unchanged, including its
/// `tracestate`.
#[derive(Clone, Debug)]
pub struct ParentBased {
    root: Sampler,
    remote_sampled: Option<Sampler>,
    remote_not_sampled: Option<Sampler>,
    local_sampled: Option<Sampler>,
    local_not_sampled: Option<Sampler>,
}

impl ParentBased {
    /// Applies `root` to spans without a parent, and follows the parent otherwise.
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

    pub(super) fn root(&self) -> &Sampler {
        &self.root
    }

    /// Applies `sampler` to spans with a remote, sampled parent.
    #[must_use]
    pub fn with_remote_parent_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.remote_sampled = Some(sampler.into());
        self
    }

    /// Applies `sampler` to spans with a remote, unsampled parent.
    #[must_use]
    pub fn with_remote_parent_not_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.remote_not_sampled = Some(sampler.into());
        self
    }

    /// Applies `sampler` to spans with a local, sampled parent.
    #[must_use]
    pub fn with_local_parent_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.local_sampled = Some(sampler.into());
        self
    }

    /// Applies `sampler` to spans with a local, unsampled parent.
    #[must_use]
    pub fn with_local_parent_not_sampled(mut self, sampler: impl Into<Sampler>) -> Self {
        self.local_not_sampled = Some(sampler.into());
        self
    }

    pub(super) fn follows_unsampled(&self) -> bool {
        let mut delegates = [&self.remote_not_sampled, &self.local_not_sampled].into_iter().flatten();
        delegates.all(Sampler::follows_unsampled_parents)
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

/// Returns the decision of the parent, with its `tracestate`.
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
