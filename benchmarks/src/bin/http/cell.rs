//! The cells of the tables, each with a side, a candidate and a variant, and the measurement of one cell.

use benchmarks::measure::Mode;
use benchmarks::named;
use benchmarks::sdk::{self, Metrics};
use opentelemetry::{Context, ContextGuard, global};

use crate::{check, client, requests, server};

named! {
    /// The measured layer.
    pub(crate) Candidate {
        Bare = "bare",
        PassThrough = "pass-through",
        TowerOtel = "tower-otel",
        InstrumentationTower = "opentelemetry-instrumentation-tower",
        AxumTracing = "axum-tracing-opentelemetry",
        Oxtel = "oxtel-tower",
        Floor = "floor",
        Ours = "ours",
    }
}

named! {
    /// The headers of the request, and the installed providers.
    pub(crate) Variant {
        Sampled = "sampled",
        Unsampled = "unsampled",
        /// A sampled parent, with the sampler and the propagator declared, as otel-telemetry does.
        DeclaredSampled = "declared-sampled",
        /// The same with a parent that is not sampled.
        Declared = "declared",
        TraceState = "tracestate",
        Baggage = "baggage",
        Peer = "peer",
        MetricsOnly = "metrics-only",
        Forwarding = "forwarding",
        Nothing = "nothing",
    }
}

named! {
    /// The side of a call.
    pub(crate) Side { Server = "server", Client = "client", }
}

impl Candidate {
    pub(crate) fn is_instrumented(self) -> bool {
        !matches!(self, Self::Bare | Self::PassThrough)
    }

    pub(crate) fn has_metrics(self) -> bool {
        self.is_instrumented() && self != Self::AxumTracing
    }

    /// Returns `true` if the candidate creates spans with `tracing`.
    pub(crate) fn uses_tracing(self) -> bool {
        matches!(self, Self::TowerOtel | Self::AxumTracing)
    }
}

impl Variant {
    pub(crate) fn has_traces(self) -> bool {
        self.has_sdk() && self != Self::MetricsOnly
    }

    pub(crate) fn has_sdk(self) -> bool {
        !matches!(self, Self::Forwarding | Self::Nothing)
    }

    /// Returns `true` if the request's span is recorded.
    pub(crate) fn records(self) -> bool {
        self.has_traces() && !self.is_unsampled()
    }

    pub(crate) fn is_unsampled(self) -> bool {
        matches!(self, Self::Unsampled | Self::Declared)
    }

    pub(crate) fn is_declared(self) -> bool {
        matches!(self, Self::DeclaredSampled | Self::Declared)
    }
}

/// The providers of oxtel, and the span of a client's caller.
#[cfg(feature = "comparison")]
type Oxtel = (benchmarks::oxtel::Oxtel, Option<tracing::span::EnteredSpan>);

#[cfg(not(feature = "comparison"))]
type Oxtel = std::convert::Infallible;

/// The providers that a cell's process has installed.
pub(crate) struct Installed {
    pub(crate) metrics: Option<Metrics>,
    pub(crate) oxtel: Option<Oxtel>,
    _current: Option<ContextGuard>,
}

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    #[cfg(feature = "comparison")]
    match arguments {
        ["propagation", candidate, variant, mode] => {
            return crate::propagation::measure(candidate, variant, Mode::parse(mode)?);
        }
        [crate::contention::CONTENTION, candidate, threads] => {
            return crate::contention::measure(candidate, threads);
        }
        ["growth", candidate, case, mode] => {
            return crate::growth::measure(candidate, case, Mode::parse(mode)?);
        }
        _ => {}
    }
    let [side, candidate, variant, mode] = arguments else { return None };
    let (side, mode) = (Side::parse(side)?, Mode::parse(mode)?);
    let (candidate, variant) = (Candidate::parse(candidate)?, Variant::parse(variant)?);
    let installed = install(side, candidate, variant);
    match side {
        Side::Server => {
            let mut service = server::of(candidate, variant)?;
            check::server(candidate, variant, &installed, || {
                server::serve(&mut service, requests::server(variant))
            });
            benchmarks::measure::measure(
                mode,
                || requests::server(variant),
                |request| server::serve(&mut service, request),
            );
        }
        Side::Client => client::measure(candidate, variant, mode, &installed)?,
    }
    Some(())
}

/// Installs the global providers and the propagator: ours for our layers, the SDK's for the others, with the same
/// formats.
pub(crate) fn install(side: Side, candidate: Candidate, variant: Variant) -> Installed {
    #[cfg(feature = "comparison")]
    if candidate == Candidate::Oxtel {
        let enter =
            || benchmarks::oxtel::enter(requests::TRACE_ID, requests::SPAN_ID, !variant.is_unsampled());
        let oxtel = variant.has_sdk().then(|| {
            let providers = benchmarks::oxtel::Oxtel::dropping(variant.has_traces());
            (providers, (side == Side::Client && variant.has_traces()).then(enter))
        });
        return Installed { metrics: None, oxtel, _current: None };
    }
    if variant != Variant::Nothing {
        if candidate == Candidate::Ours {
            let formats = otel_propagation::CompositePropagator::empty()
                .with_trace_context(otel_propagation::TraceContextPropagator::new());
            otel_propagation::set_global(match variant {
                Variant::Baggage => formats.with_baggage(otel_propagation::BaggagePropagator::new()),
                _ => formats,
            });
        } else {
            use opentelemetry::propagation::TextMapCompositePropagator;
            use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
            match variant {
                Variant::Baggage => {
                    global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
                        Box::new(TraceContextPropagator::new()),
                        Box::new(BaggagePropagator::new()),
                    ]));
                }
                _ => global::set_text_map_propagator(TraceContextPropagator::new()),
            }
        }
    }
    if variant.has_traces() {
        let provider = sdk::install_traces();
        if candidate.uses_tracing() {
            sdk::subscribe(&provider);
        }
    }
    if variant.is_declared() {
        sdk::declare();
    }
    let metrics = variant.has_sdk().then(sdk::install_metrics);
    // A client takes its parent from the current context.
    let current: Option<Context> = (side == Side::Client).then(|| requests::caller(variant)).flatten();
    Installed { metrics, oxtel: None, _current: current.map(Context::attach) }
}
