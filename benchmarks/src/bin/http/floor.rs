//! A minimal handwritten instrumentation with the SDK: propagator, span, attributes, bound metrics. It does not handle
//! drops, panics and bodies, and supports one route.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use http::{Request, Response, header};
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter};
use opentelemetry::trace::{SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

struct State {
    kind: SpanKind,
    tracer: BoxedTracer,
    duration: BoundHistogram<f64>,
    active: BoundUpDownCounter<i64>,
}

#[derive(Clone)]
pub(crate) struct FloorLayer(Arc<State>);

impl FloorLayer {
    pub(crate) fn server() -> Self {
        Self::new(
            SpanKind::Server,
            "server",
            &[
                KeyValue::new("http.request.method", "GET"),
                KeyValue::new("url.scheme", "http"),
                KeyValue::new("http.route", "/users/{id}"),
                KeyValue::new("network.protocol.version", "1.1"),
                KeyValue::new("http.response.status_code", 200),
            ],
        )
    }

    pub(crate) fn client() -> Self {
        Self::new(
            SpanKind::Client,
            "client",
            &[
                KeyValue::new("http.request.method", "GET"),
                KeyValue::new("server.address", "users.example.com"),
                KeyValue::new("server.port", 8080),
                KeyValue::new("network.protocol.version", "1.1"),
                KeyValue::new("http.response.status_code", 200),
            ],
        )
    }

    fn new(kind: SpanKind, side: &str, attributes: &[KeyValue]) -> Self {
        let meter = global::meter("floor");
        let duration = meter.f64_histogram(format!("http.{side}.request.duration")).build();
        let active = meter.i64_up_down_counter(format!("http.{side}.active_requests")).build();
        Self(Arc::new(State {
            kind,
            tracer: global::tracer("floor"),
            duration: duration.bind(attributes),
            active: active.bind(&attributes[..2]),
        }))
    }
}

impl<S> Layer<S> for FloorLayer {
    type Service = Floor<S>;

    fn layer(&self, inner: S) -> Floor<S> {
        Floor { inner, state: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
pub(crate) struct Floor<S> {
    inner: S,
    state: Arc<State>,
}

impl<S, B, R> Service<Request<B>> for Floor<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FloorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let started = Instant::now();
        let is_server = self.state.kind == SpanKind::Server;
        let parent = if is_server {
            global::get_text_map_propagator(|propagator| {
                propagator.extract_with_context(&Context::new(), &HeaderExtractor(request.headers()))
            })
        } else {
            Context::current()
        };
        let mut span = SpanBuilder::from_name(if is_server { "GET /users/{id}" } else { "GET" })
            .with_kind(self.state.kind.clone());
        if parent.span().span_context().is_sampled() {
            span = span.with_attributes(if is_server { server(&request) } else { client(&request) });
        }
        let span = self.state.tracer.build_with_context(span, &parent);
        let context = parent.with_span(span);
        if !is_server {
            global::get_text_map_propagator(|propagator| {
                propagator.inject_context(&context, &mut HeaderInjector(request.headers_mut()));
            });
        }
        self.state.active.add(1);
        let attached = context.clone().attach();
        let inner = self.inner.call(request);
        drop(attached);
        FloorFuture { inner, context, started, state: Arc::clone(&self.state) }
    }
}

fn server<B>(request: &Request<B>) -> Vec<KeyValue> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (address, port) = header(header::HOST).rsplit_once(':').unwrap_or_default();
    vec![
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("url.path", request.uri().path().to_owned()),
        KeyValue::new("url.query", request.uri().query().unwrap_or_default().to_owned()),
        KeyValue::new("http.route", "/users/{id}"),
        KeyValue::new("server.address", address.to_owned()),
        KeyValue::new("server.port", port.parse().unwrap_or(80_i64)),
        KeyValue::new("user_agent.original", header(header::USER_AGENT).to_owned()),
        KeyValue::new("network.protocol.version", "1.1"),
    ]
}

fn client<B>(request: &Request<B>) -> Vec<KeyValue> {
    let uri = request.uri();
    vec![
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("server.address", uri.host().unwrap_or_default().to_owned()),
        KeyValue::new("server.port", i64::from(uri.port_u16().unwrap_or(80))),
        KeyValue::new("url.full", uri.to_string()),
        KeyValue::new("network.protocol.version", "1.1"),
    ]
}

pin_project! {
    pub(crate) struct FloorFuture<F> {
        #[pin]
        inner: F,
        context: Context,
        started: Instant,
        state: Arc<State>,
    }
}

impl<F, R, E> Future for FloorFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let attached = this.context.clone().attach();
        let output = ready!(this.inner.poll(cx));
        drop(attached);
        let span = this.context.span();
        if let Ok(response) = &output
            && span.is_recording()
        {
            let status = i64::from(response.status().as_u16());
            span.set_attribute(KeyValue::new("http.response.status_code", status));
        }
        this.state.active.add(-1);
        this.state.duration.record(this.started.elapsed().as_secs_f64());
        span.end();
        Poll::Ready(output)
    }
}
