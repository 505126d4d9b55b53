//! The cells of the tables, the measurement of one cell, and the check before it.

use benchmarks::measure::{self, Mode};
use benchmarks::named;
use benchmarks::sdk::{self, Metrics};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, global};
use tonic::service::Routes;
use tower_layer::Layer as _;

use crate::echo::{self, Answer, Greeter};

named! {
    /// The measured layer.
    pub(crate) Candidate {
        Bare = "bare",
        TonicTracing = "tonic-tracing-opentelemetry",
        TowerOtel = "tower-otel",
        Ours = "ours",
    }
}

named! {
    /// The parent of the call, and the installed providers.
    pub(crate) Variant {
        Sampled = "sampled",
        Unsampled = "unsampled",
        /// A sampled parent, with the sampler and the propagator declared, as otel-telemetry does.
        DeclaredSampled = "declared-sampled",
        /// The same with a parent that is not sampled.
        Declared = "declared",
        Nothing = "nothing",
    }
}

named! {
    /// The side and the kind of the call.
    pub(crate) Side {
        Server = "server",
        Client = "client",
        ServerStream = "server-stream",
        ClientStream = "client-stream",
    }
}

impl Variant {
    pub(crate) fn is_unsampled(self) -> bool {
        matches!(self, Self::Unsampled | Self::Declared)
    }

    pub(crate) fn records(self) -> bool {
        self != Self::Nothing && !self.is_unsampled()
    }

    pub(crate) fn is_declared(self) -> bool {
        matches!(self, Self::DeclaredSampled | Self::Declared)
    }
}

impl Side {
    pub(crate) fn is_server(self) -> bool {
        matches!(self, Self::Server | Self::ServerStream)
    }

    pub(crate) fn streams(self) -> bool {
        matches!(self, Self::ServerStream | Self::ClientStream)
    }
}

/// The attributes of a span that are not opt-in and that the call can supply.
const SERVER: [&str; 6] = [
    "network.peer.address=192.0.2.7",
    "network.peer.port=49152",
    "rpc.response.status_code=OK",
    "rpc.system.name=grpc",
    "server.address=api.example.com",
    "server.port=8080",
];
const CLIENT: [&str; 4] = [
    "rpc.response.status_code=OK",
    "rpc.system.name=grpc",
    "server.address=api.example.com",
    "server.port=8080",
];

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    let [side, candidate, variant, mode] = arguments else { return None };
    let (side, mode) = (Side::parse(side)?, Mode::parse(mode)?);
    let (candidate, variant) = (Candidate::parse(candidate)?, Variant::parse(variant)?);
    let metrics = install(candidate, variant);
    // A client takes its parent from the current context.
    let _current = (!side.is_server() && variant != Variant::Nothing).then(|| caller(variant).attach());
    let run = Run { side, candidate, variant, mode, metrics };
    // Otherwise axum, which implements tonic's router, would be finished for each call.
    let routes = || Routes::new(Greeter).prepare();
    match (side.is_server(), candidate) {
        (true, Candidate::Bare) => run.run(routes()),
        (true, Candidate::Ours) => run.run(otel_grpc::ServerLayer::new().layer(routes())),
        (false, Candidate::Bare) => run.run(Answer),
        (false, Candidate::Ours) => {
            let target = http::Uri::from_static("http://api.example.com:8080");
            run.run(otel_grpc::ClientLayer::new().with_target(&target).layer(Answer));
        }
        _ => return compared(run, routes()),
    }
    Some(())
}

#[cfg(feature = "comparison")]
fn compared(run: Run, routes: Routes) -> Option<()> {
    use tonic_tracing_opentelemetry::middleware::{client, server};
    use tower_otel::trace::GrpcLayer;
    match (run.side.is_server(), run.candidate) {
        (true, Candidate::TonicTracing) => run.run(server::OtelGrpcLayer::default().layer(routes)),
        (true, Candidate::TowerOtel) => run.run(GrpcLayer::server(tracing::Level::INFO).layer(routes)),
        (false, Candidate::TonicTracing) => run.run(client::OtelGrpcLayer.layer(Answer)),
        (false, Candidate::TowerOtel) => run.run(GrpcLayer::client(tracing::Level::INFO).layer(Answer)),
        _ => return None,
    }
    Some(())
}

#[cfg(not(feature = "comparison"))]
fn compared(_run: Run, _routes: Routes) -> Option<()> {
    None
}

struct Run {
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<Metrics>,
}

impl Run {
    fn run<S, B>(self, mut service: S)
    where
        S: tower_service::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<B>,
                Error = std::convert::Infallible,
            >,
        B: http_body::Body,
    {
        let request = || echo::request(self.side, self.variant);
        self.check(|| echo::serve(&mut service, request()));
        measure::measure(self.mode, request, |request| echo::serve(&mut service, request));
    }

    /// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
    fn check(&self, mut serve: impl FnMut()) {
        // The server layer learns a method with its first call.
        serve();
        let spans = sdk::spans_of(&mut serve);
        let instrumented = self.candidate != Candidate::Bare;
        assert_eq!(spans.len(), usize::from(instrumented && self.variant.records()), "{spans:?}");
        if let Some(span) = spans.first() {
            let kind = if self.side.is_server() { SpanKind::Server } else { SpanKind::Client };
            assert_eq!(span.span_kind, kind);
            assert_eq!(span.span_context.trace_id(), TraceId::from(echo::TRACE_ID));
            assert_eq!(span.parent_span_id, SpanId::from(echo::SPAN_ID));
            if self.candidate == Candidate::Ours {
                let attributes = sdk::texts(span.attributes.iter());
                let expected: &[&str] = if self.side.is_server() { &SERVER } else { &CLIENT };
                for expected in expected {
                    assert!(
                        attributes.iter().any(|kv| kv == expected),
                        "missing {expected} in {attributes:?}"
                    );
                }
            }
        }
        if !self.side.is_server() {
            let sent = echo::sent();
            let propagates = instrumented && self.variant != Variant::Nothing;
            assert_eq!(sent.contains_key("traceparent"), propagates, "{sent:?}");
        }
        let points = self.metrics.as_ref().map(Metrics::points).unwrap_or_default();
        if self.candidate == Candidate::Ours && self.metrics.is_some() {
            assert!(points.iter().all(|point| point.name.ends_with(".call.duration")), "{points:?}");
            assert_eq!(points.iter().map(|point| point.value).sum::<f64>(), 2.0, "{points:?}");
        } else {
            assert!(points.is_empty(), "{points:?}");
        }
    }
}

/// Installs the global providers and the propagator: ours for our layers, the SDK's for the others.
fn install(candidate: Candidate, variant: Variant) -> Option<Metrics> {
    if variant == Variant::Nothing {
        return None;
    }
    if candidate == Candidate::Ours {
        let formats = otel_propagation::CompositePropagator::empty();
        otel_propagation::set_global(
            formats.with_trace_context(otel_propagation::TraceContextPropagator::new()),
        );
    } else {
        global::set_text_map_propagator(opentelemetry_sdk::propagation::TraceContextPropagator::new());
    }
    let provider = sdk::install_traces();
    if matches!(candidate, Candidate::TonicTracing | Candidate::TowerOtel) {
        sdk::subscribe(&provider);
    }
    if variant.is_declared() {
        sdk::declare();
    }
    Some(sdk::install_metrics())
}

/// Creates the context in which a client is called.
fn caller(variant: Variant) -> Context {
    let flags = if variant.is_unsampled() { TraceFlags::default() } else { TraceFlags::SAMPLED };
    let (trace, span) = (TraceId::from(echo::TRACE_ID), SpanId::from(echo::SPAN_ID));
    Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}
