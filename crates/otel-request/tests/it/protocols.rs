//! Two protocols: a transport, and a more specific one whose status is in a header that outer layers may not see.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::{Outcome, Tracer};
use otel_propagation::{CompositePropagator, PropagatorHandle};
use otel_request::{
    AttributeScope, EndsWith, HeadView, Instrumentation, NameRank, Options, Protocol, RequestFuture,
    RequestHead, RequestObserver, RequestSpan, ServerInstrumentation, SpanName, start_server,
};
use otel_testing::Recorder;

/// The measurements of all layers: protocol, `error.type`, status.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

#[derive(Debug)]
pub(crate) enum View {}

impl HeadView for View {
    type View<'a> = RequestHead<'a>;

    fn view<'a>(head: &RequestHead<'a>) -> RequestHead<'a> {
        *head
    }
}

/// The layer of a protocol of this rank.
pub(crate) struct Layer<const RANK: u8> {
    tracer: Tracer,
    options: Options<View>,
    log: Log,
    /// False for a layer outside of a translation that hides the status.
    sees_status: bool,
}

pub(crate) struct State<const RANK: u8> {
    log: Log,
    sees_status: bool,
    is_of_protocol: bool,
    status: Option<u16>,
}

impl<const RANK: u8> Layer<RANK> {
    pub(crate) fn new(recorder: &Recorder, log: &Log) -> Self {
        let scope = InstrumentationScope::builder("test").build();
        let mut options = Options::new();
        options.propagator = PropagatorHandle::new(CompositePropagator::default());
        let tracer = Tracer::new(recorder.tracer_provider(), scope);
        Self { tracer, options, log: Arc::clone(log), sees_status: true }
    }

    pub(crate) fn blind(self) -> Self {
        Self { sees_status: false, ..self }
    }

    /// Runs `inner` as the service inside of this layer.
    pub(crate) async fn run<F, B>(self, inner: impl FnOnce(Request<()>) -> F) -> Response<Bytes>
    where
        F: Future<Output = Response<B>>,
        B: Body<Data = Bytes, Error = Infallible>,
    {
        let mut request = Request::new(());
        let mut scope = start_server(&Arc::new(self), &mut request);
        let entered = scope.enter();
        let future = inner(request);
        entered.exit();
        let response = RequestFuture::new(async { Ok::<_, Infallible>(future.await) }, scope).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }
}

/// A response that has a status of the more specific protocol, or none.
pub(crate) fn answer(status: Option<&str>) -> Response<Full<Bytes>> {
    let builder = Response::builder();
    let builder = status.map_or(Response::builder(), |status| builder.header("status", status));
    builder.body(Full::new(Bytes::from("x"))).unwrap()
}

pub(crate) fn full(response: Response<Bytes>) -> Response<Full<Bytes>> {
    response.map(Full::new)
}

impl<const RANK: u8> Instrumentation for Layer<RANK> {
    type View = View;
    type Observer = State<RANK>;

    fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    fn options(&self) -> &Options<View> {
        &self.options
    }
}

impl<const RANK: u8> ServerInstrumentation for Layer<RANK> {
    type Details = ();

    fn observe(self: &Arc<Self>, _: &RequestHead<'_>) -> (State<RANK>, (), SpanName) {
        let (log, sees_status) = (Arc::clone(&self.log), self.sees_status);
        let state = State { log, sees_status, is_of_protocol: true, status: None };
        let rank = if RANK > 1 { NameRank::Procedure } else { NameRank::Method };
        (state, (), SpanName::new(format!("protocol {RANK}"), rank))
    }

    fn attributes(
        &self,
        _: &State<RANK>,
        (): &(),
        _: &RequestHead<'_>,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    ) {
        list.push(KeyValue::new(format!("start.{RANK}"), format!("{scope:?}")));
    }
}

impl<const RANK: u8> RequestObserver for State<RANK> {
    const PROTOCOL: Protocol = Protocol::new(RANK);

    fn on_response<B: Body>(&mut self, response: &Response<B>, _: Option<&RequestSpan<'_>>) -> EndsWith {
        let status = response.headers().get("status").and_then(|status| status.to_str().ok()?.parse().ok());
        if RANK > 1 {
            self.is_of_protocol = status.is_some();
            self.status = status.filter(|_| self.sees_status);
        }
        EndsWith::Body(None)
    }

    fn on_data<D: Buf>(&mut self, data: &D, span: Option<&RequestSpan<'_>>) {
        if let Some(span) = span {
            span.add_event(format!("data.{RANK}"), vec![KeyValue::new("bytes", data.remaining() as i64)]);
        }
    }

    fn on_end(&mut self, _: Option<&HeaderMap>) -> Outcome {
        match self.status {
            Some(0) => Outcome::ok(),
            Some(_) => Outcome::error("FAILED"),
            None if RANK > 1 && self.is_of_protocol => Outcome::error("UNKNOWN"),
            None => Outcome::ok(),
        }
    }

    fn on_error<E: 'static>(&mut self, _: &E, _: Option<&RequestSpan<'_>>) -> Outcome {
        Outcome::error("broken")
    }

    fn is_of_protocol(&self) -> bool {
        self.is_of_protocol
    }

    fn status(&self) -> Option<u16> {
        self.status
    }

    fn on_inner_status(&mut self, code: u16) {
        self.status = Some(code);
    }

    fn finish_span(&mut self, span: &RequestSpan<'_>, _: &Outcome) {
        if span.scope() != AttributeScope::Hooks {
            span.set_attribute(KeyValue::new(format!("end.{RANK}"), format!("{:?}", self.status)));
        }
    }

    fn record_metrics(&mut self, outcome: &Outcome, _: Duration) {
        let class = outcome.error_type().map_or("ok", |class| class);
        self.log.lock().unwrap().push(format!("{RANK} {class} {:?}", self.status));
    }
}
