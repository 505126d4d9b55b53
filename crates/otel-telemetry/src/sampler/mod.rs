//! Samplers: the decision which traces are recorded, made when a span starts.
//!
//! Follows "Sampling" of the [Trace SDK](https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling), the
//! specification of [probability
//! sampling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/), and the sampler types
//! of [declarative configuration](https://github.com/open-telemetry/opentelemetry-configuration).
//!
//! Every sampler here that keeps a fraction of the traces writes its rejection threshold into the span's `tracestate`
//! as `ot=th:…`. From it a backend knows that a span kept with the probability 1/8 represents eight. The decision
//! compares the threshold with the randomness of the trace, which is the explicit `rv` of the `tracestate`, or else
//! the last seven bytes of the trace id. Of services with different probabilities, the one with the higher
//! probability therefore keeps all traces of the other. Entries of other vendors pass unchanged.
//!
//! ```
//! use otel_telemetry::sampler::{Rule, Rules, Sampler};
//!
//! let rules = Rules::new("orders")
//!     .with_rule(Rule::new(Sampler::never()).with_span_name("GET /health*"))
//!     .with_rule(Rule::new(Sampler::always()).with_attribute("http.route", ["/checkout"]))
//!     .with_rule(Rule::new(Sampler::adaptive(20.0)));
//! let sampler = Sampler::parent_based(rules);
//! # let _ = sampler;
//! ```

mod adaptive;
mod env;
mod file;
mod parent;
mod pattern;
mod reload;
mod rules;
mod threshold;
mod tracestate;

use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

use self::adaptive::Adaptive;
pub use self::env::EnvError;
pub(crate) use self::env::NAMES;
pub use self::file::FileError;
pub use self::parent::ParentBased;
use self::reload::Current;
pub use self::reload::{Reloadable, Watcher};
use self::rules::Table;
pub use self::rules::{Rule, Rules, SpanParent};
use self::threshold::Threshold;

/// Decides which spans are recorded. Clones share their estimate of the load.
///
/// Pass it to the SDK's tracer provider or to [`TelemetryBuilder`](crate::TelemetryBuilder::with_sampler). Decisions
/// neither panic nor fail.
#[derive(Clone, Debug)]
pub struct Sampler(Node);

#[derive(Clone, Debug)]
enum Node {
    Always,
    Never,
    Ratio(Threshold),
    ParentBased(Arc<ParentBased>),
    Rules(Arc<Table>),
    Adaptive(Arc<Adaptive>),
    Reloadable(Arc<Current>),
}

impl Sampler {
    /// Samples every span.
    ///
    /// A root gets no `th`, so that backends count it as one; a parent's `th` becomes `th:0`, because the span is
    /// kept whatever the parent. Use [`ratio(1.0)`](Self::ratio) if each span must state its probability.
    #[must_use]
    pub const fn always() -> Self {
        Self(Node::Always)
    }

    /// Samples no span. A parent's `th` is not propagated, because it did not decide about the span.
    #[must_use]
    pub const fn never() -> Self {
        Self(Node::Never)
    }

    /// Samples this fraction of all traces, from 0 to 1; all services decide alike about the same trace.
    ///
    /// The probability is rounded to four significant hexadecimal digits, as the specification recommends, and
    /// written as `th` into each sampled span. A value above 1 counts as 1; zero, less than 2^-56, a negative number
    /// and NaN sample nothing. The decision of a parent is ignored: wrap the sampler in
    /// [`parent_based`](Self::parent_based) to follow it.
    #[must_use]
    pub fn ratio(probability: f64) -> Self {
        Self(Threshold::from_probability(probability).map_or(Node::Never, Node::Ratio))
    }

    /// Takes the decision of the parent, and applies `root` to spans without a parent; see [`ParentBased`].
    #[must_use]
    pub fn parent_based(root: impl Into<Self>) -> Self {
        ParentBased::new(root).into()
    }

    /// Keeps about this number of traces a second, with a probability that follows the load and is written as `th`.
    ///
    /// Only roots are decided and counted; a span with a parent follows it, and the parent's `th` and `rv` pass
    /// unchanged. Each call creates its own estimate, so that each rule of a table has its own rate.
    ///
    /// While the load exceeds the rate `N`, about `N·T + N·τ·ln(r)` traces are kept in `T` seconds. `r` is the load
    /// at the end divided by the load at the start, both averaged over the preceding `τ` seconds; `τ` is `10 / N`
    /// seconds, limited to 1 to 60 seconds. A sudden hundredfold load therefore keeps about `5·N·τ` additional traces
    /// once, and correspondingly fewer when it ends; after silence, the first `N·τ` roots are all kept. Zero, a
    /// negative rate and NaN keep nothing.
    #[must_use]
    pub fn adaptive(traces_per_second: f64) -> Self {
        Self(Node::Adaptive(Arc::new(Adaptive::new(traces_per_second))))
    }

    /// Returns true if every span under an unsampled parent is dropped, whatever its properties, and with the parent's
    /// `tracestate`.
    pub(crate) fn follows_unsampled_parents(&self) -> bool {
        match &self.0 {
            Node::ParentBased(sampler) => sampler.follows_unsampled(),
            Node::Adaptive(_) => true,
            // The last one can become any other.
            Node::Always | Node::Never | Node::Ratio(_) | Node::Rules(_) | Node::Reloadable(_) => false,
        }
    }

    fn decide(&self, span: &Span<'_>) -> SamplingResult {
        match &self.0 {
            Node::Always => sample_all(span),
            Node::Never => drop_span(span),
            Node::Ratio(threshold) => by_threshold(span, *threshold),
            Node::ParentBased(sampler) => sampler.decide(span),
            Node::Rules(table) => {
                table.find(span).map_or_else(|| drop_span(span), |found| found.decide(span))
            }
            Node::Adaptive(adaptive) => match span.parent {
                Some(parent) => parent::follow(parent, span.trace_id),
                None => adaptive
                    .observe()
                    .map_or_else(|| drop_span(span), |threshold| by_threshold(span, threshold)),
            },
            Node::Reloadable(current) => current.load().decide(span),
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Node::Always => f.write_str("always"),
            Node::Never => f.write_str("never"),
            Node::Ratio(threshold) => write!(f, "ratio({})", threshold.probability()),
            Node::ParentBased(sampler) => write!(f, "parent_based({})", sampler.root()),
            Node::Rules(table) => write!(f, "rules({} rules)", table.len()),
            Node::Adaptive(adaptive) => write!(f, "adaptive({} traces a second)", adaptive.per_second()),
            Node::Reloadable(current) => write!(f, "reloadable({})", current.load()),
        }
    }
}

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let parent = parent_context.map(TraceContextExt::span);
        let parent = parent.as_ref().map(|span| span.span_context()).filter(|parent| parent.is_valid());
        self.decide(&Span { parent, trace_id, name, kind: span_kind, attributes })
    }
}

impl From<ParentBased> for Sampler {
    fn from(sampler: ParentBased) -> Self {
        Self(Node::ParentBased(Arc::new(sampler)))
    }
}

impl From<Rules> for Sampler {
    fn from(rules: Rules) -> Self {
        Self(Node::Rules(Arc::new(rules.into_table())))
    }
}

/// The properties of a span that are known before it starts.
struct Span<'a> {
    /// `None` for a root: without a parent, or with an invalid one.
    parent: Option<&'a SpanContext>,
    trace_id: TraceId,
    name: &'a str,
    kind: &'a SpanKind,
    attributes: &'a [KeyValue],
}

impl<'a> Span<'a> {
    fn parent_state(&self) -> Option<&'a TraceState> {
        self.parent.map(SpanContext::trace_state)
    }
}

fn by_threshold(span: &Span<'_>, threshold: Threshold) -> SamplingResult {
    let state = span.parent_state();
    if !threshold.keeps(tracestate::randomness(state, span.trace_id)) {
        return drop_span(span);
    }
    result(SamplingDecision::RecordAndSample, tracestate::with_threshold(state, threshold))
}

fn sample_all(span: &Span<'_>) -> SamplingResult {
    let state = match span.parent_state() {
        Some(state) if tracestate::threshold(state).is_some() => {
            tracestate::with_threshold(Some(state), Threshold::ZERO)
        }
        state => tracestate::without_threshold(state),
    };
    result(SamplingDecision::RecordAndSample, state)
}

/// Drops a span without the parent's threshold, because the sampler did not decide by it.
fn drop_span(span: &Span<'_>) -> SamplingResult {
    result(SamplingDecision::Drop, tracestate::without_threshold(span.parent_state()))
}

fn result(decision: SamplingDecision, trace_state: TraceState) -> SamplingResult {
    SamplingResult { decision, attributes: Vec::new(), trace_state }
}
