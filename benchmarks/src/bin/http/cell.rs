//! The cells of the tables: a side, a candidate and a variant, and the process that measures one of them.

use benchmarks::measure::Mode;
use benchmarks::named;
use benchmarks::sdk::{self, Metrics};
use opentelemetry::{Context, ContextGuard, global};

use crate::{check, client, requests, server};

named! {
    /// Whose layer is measured.
    Candidate {
        Bare = "bare",
        PassThrough = "pass-through",
        TowerOtel = "tower-otel",
        InstrumentationTower = "opentelemetry-instrumentation-tower",
        AxumTracing = "axum-tracing-opentelemetry",
        Floor = "floor",
        Ours = "ours",
    }
}

named! {
    /// What the request carries, and what is installed.
    Variant {
        Sampled = "sampled",
        Unsampled = "unsampled",
        TraceState = "tracestate",
        Baggage = "baggage",
        Peer = "peer",
        MetricsOnly = "metrics-only",
        Forwarding = "forwarding",
        Nothing = "nothing",
    }
}

named! {
    /// Which side of a call.
    Side { Server = "server", Client = "client", }
}

impl Candidate {
    pub(crate) fn is_instrumented(self) -> bool {
        !matches!(self, Self::Bare | Self::PassThrough)
    }

    pub(crate) fn has_metrics(self) -> bool {
        self.is_instrumented() && self != Self::AxumTracing
    }

    /// Whether spans come out of `tracing`.
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

    /// Whether the request's span is recorded.
    pub(crate) fn records(self) -> bool {
        self.has_traces() && self != Self::Unsampled
    }
}

/// What a cell's process has installed.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) metrics: Option<Metrics>,
    _current: Option<ContextGuard>,
}

/// Measures the cell that the arguments name: `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    #[cfg(feature = "comparison")]
    if let ["propagation", candidate, variant, mode] = arguments {
        return crate::propagation::measure(candidate, variant, Mode::parse(mode)?);
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

/// Sets the globals, as an application does that knows of the candidate: our propagator for us, the SDK's for all
/// others, with the same formats.
fn install(side: Side, candidate: Candidate, variant: Variant) -> Installed {
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
    let metrics = variant.has_sdk().then(sdk::install_metrics);
    // A client's parent is whatever is current where it is called.
    let current: Option<Context> = (side == Side::Client).then(|| requests::caller(variant)).flatten();
    Installed { metrics, _current: current.map(Context::attach) }
}
