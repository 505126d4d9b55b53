//! A scripted backend below a client layer of otel-http, and an instrumentation that records to a recorder of the test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, TraceContextExt, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SpanData;
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_resilience::{BoxError, Options, ResilienceError, ResilienceInstrumentation};
use otel_testing::Recorder;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};

pub(crate) use otel_testing::spans::{attribute, error_type};

pub(crate) type Body = http_body_util::Full<bytes::Bytes>;

pub(crate) fn instrumentation(recorder: &Recorder) -> ResilienceInstrumentation {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let options = Options::new().with_tracer_provider(recorder.tracer_provider());
    ResilienceInstrumentation::new(options.with_meter_provider(recorder.meter_provider()))
}

pub(crate) fn client_layer(recorder: &Recorder) -> ClientLayer {
    let layer = ClientLayer::new().with_tracer_provider(recorder.tracer_provider());
    layer.with_meter_provider(recorder.meter_provider()).with_propagator(CompositePropagator::default())
}

pub(crate) fn server_layer(recorder: &Recorder) -> ServerLayer {
    let layer = ServerLayer::new().with_tracer_provider(recorder.tracer_provider());
    layer.with_meter_provider(recorder.meter_provider()).with_propagator(CompositePropagator::default())
}

pub(crate) fn get() -> Request<Body> {
    Request::get("http://stock.internal/items/7").body(Body::default()).unwrap()
}

/// The context of a caller's span, which ends with the guard.
pub(crate) fn caller(recorder: &Recorder) -> Context {
    let tracer = recorder.tracer_provider().tracer("caller");
    let span = tracer.build_with_context(SpanBuilder::from_name("caller"), &Context::new());
    Context::current().with_span(span)
}

/// The first error of this crate in an error.
pub(crate) fn found(error: &BoxError) -> ResilienceError {
    ResilienceError::find(&**error).unwrap().clone()
}

/// The events of a span with this name, as their attributes.
pub(crate) fn events(span: &SpanData, name: &str) -> Vec<Vec<(String, String)>> {
    let attributes = |event: &opentelemetry::trace::Event| {
        event.attributes.iter().map(|kv| (kv.key.to_string(), kv.value.to_string())).collect()
    };
    span.events.iter().filter(|event| event.name == name).map(attributes).collect()
}

/// One answer of a [`Backend`].
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// 503 with this `Retry-After`.
    After(String),
    Error,
    Hang,
}

/// A backend that gives its answers in turn, and then 200. The client layer is around it.
#[derive(Clone)]
pub(crate) struct Backend {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// The heads of the requests that arrived.
    requests: Arc<Mutex<Vec<HeaderMap>>>,
    delay: Duration,
    default: Answer,
}

impl Backend {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            requests: Arc::default(),
            delay: Duration::ZERO,
            default: Answer::Status(200),
        }
    }

    /// A backend that always gives one answer.
    pub(crate) fn always(answer: Answer) -> Self {
        Self { default: answer, ..Self::new([]) }
    }

    pub(crate) fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Adds an answer behind those that wait.
    pub(crate) fn push(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    pub(crate) fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn requests(&self) -> Vec<HeaderMap> {
        self.requests.lock().unwrap().clone()
    }

    async fn answer(self, request: Request<Body>) -> std::io::Result<Response<Body>> {
        self.requests.lock().unwrap().push(request.headers().clone());
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(self.default);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let response = Response::builder();
        let response = match answer {
            Answer::Status(status) => response.status(status),
            Answer::After(after) => response.status(503).header("retry-after", after),
            Answer::Error => return Err(std::io::ErrorKind::ConnectionReset.into()),
            Answer::Hang => std::future::pending().await,
        };
        Ok(response.body(Body::default()).unwrap())
    }

    /// The backend as a service, below the client layer.
    pub(crate) fn client(&self, recorder: &Recorder) -> Client {
        let backend = self.clone();
        let service = tower::service_fn(move |request| backend.clone().answer(request));
        let service = client_layer(recorder).layer(service);
        BoxCloneSyncService::new(service.map_response(|response| response.map(|_| Body::default())))
    }
}

pub(crate) type Client = BoxCloneSyncService<Request<Body>, Response<Body>, std::io::Error>;
