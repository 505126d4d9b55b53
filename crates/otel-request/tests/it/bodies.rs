//! Response bodies: the request ends with the last frame, with an error, or on drop.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use otel_operation::{Outcome, Tracer};
use otel_request::{
    AttributeScope, EndsWith, Instrumentation, NameRank, Options, Protocol, RequestBody, RequestFuture,
    RequestHead, RequestObserver, RequestSpan, ServerInstrumentation, SpanName, start_server,
};
use otel_testing::Recorder;

use crate::protocols::{Log, View};

/// A layer whose requests end with their body, or with the head of a response that has the header `head`; if
/// its value is `counted`, the body after it is observed.
struct Download {
    tracer: Tracer,
    options: Options<View>,
    log: Log,
    length: Option<u64>,
}

struct DownloadState {
    log: Log,
    length: Option<u64>,
    bytes: usize,
}

impl Instrumentation for Download {
    type View = View;
    type Observer = DownloadState;

    fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    fn options(&self) -> &Options<View> {
        &self.options
    }
}

impl ServerInstrumentation for Download {
    type Details = ();

    fn observe(self: &Arc<Self>, _: &RequestHead<'_>) -> (DownloadState, (), SpanName) {
        let state = DownloadState { log: Arc::clone(&self.log), length: self.length, bytes: 0 };
        (state, (), SpanName::new("download", NameRank::Method))
    }

    fn attributes(
        &self,
        _: &DownloadState,
        (): &(),
        _: &RequestHead<'_>,
        _: AttributeScope,
        _: &mut Vec<KeyValue>,
    ) {
    }
}

impl RequestObserver for DownloadState {
    const PROTOCOL: Protocol = Protocol::new(1);
    const BODY_IN_CONTEXT: bool = true;

    fn on_response<B: Body>(&mut self, response: &Response<B>, _: Option<&RequestSpan<'_>>) -> EndsWith {
        match response.headers().get("head") {
            Some(value) if value == "counted" => EndsWith::HeadBeforeBody,
            Some(_) => EndsWith::Head,
            None => EndsWith::Body(self.length),
        }
    }

    fn on_data<D: Buf>(&mut self, data: &D, _: Option<&RequestSpan<'_>>) {
        self.bytes += data.remaining();
    }

    fn on_end(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        self.log.lock().unwrap().push(format!("{} bytes, trailers {}", self.bytes, trailers.is_some()));
        Outcome::ok()
    }

    fn on_short_body(&mut self, _: Option<&HeaderMap>) -> Outcome {
        Outcome::error("short")
    }

    fn on_body_end(&mut self) {
        self.log.lock().unwrap().push(format!("{} bytes of body", self.bytes));
    }

    fn on_error<E: 'static>(&mut self, _: &E, _: Option<&RequestSpan<'_>>) -> Outcome {
        Outcome::error("failed")
    }

    fn record_metrics(&mut self, outcome: &Outcome, _: Duration) {
        let class = outcome.error_type().map_or("ok", |class| class);
        self.log.lock().unwrap().push(format!("measure {class}"));
    }
}

fn layer(recorder: &Recorder, length: Option<u64>) -> Download {
    let tracer = Tracer::new(recorder.tracer_provider(), InstrumentationScope::builder("test").build());
    Download { tracer, options: Options::new(), log: Log::default(), length }
}

/// Returns the body of a response as the layer's caller sees it, and the context of the request.
async fn respond<B>(layer: Download, response: Response<B>) -> (RequestBody<B, DownloadState>, Context)
where
    B: Body<Error: 'static>,
{
    let mut scope = start_server(&Arc::new(layer), &mut Request::new(()));
    let context = scope.context().cloned().unwrap_or_default();
    let entered = scope.enter();
    let inner = async { Ok::<_, Infallible>(response) };
    entered.exit();
    (RequestFuture::new(inner, scope).await.unwrap().into_body(), context)
}

async fn body<B>(recorder: &Recorder, inner: B, length: Option<u64>) -> (RequestBody<B, DownloadState>, Log)
where
    B: Body<Error: 'static>,
{
    let layer = layer(recorder, length);
    let log = Arc::clone(&layer.log);
    (respond(layer, Response::new(inner)).await.0, log)
}

fn frames(frames: Vec<Result<Frame<Bytes>, String>>) -> impl Body<Data = Bytes, Error = String> + Unpin {
    StreamBody::new(futures_util::stream::iter(frames))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, String> {
    Ok(Frame::data(Bytes::from(text)))
}

#[tokio::test]
async fn a_body_at_its_end_need_not_be_polled_again() {
    let recorder = Recorder::new();
    let (mut body, log) = body(&recorder, Full::new(Bytes::from("12345")), None).await;
    assert_eq!(body.size_hint().exact(), Some(5), "the hints are those of the wrapped body");
    assert!(!body.is_end_stream());
    body.frame().await.unwrap().unwrap();
    assert_eq!(*log.lock().unwrap(), ["5 bytes, trailers false", "measure ok"]);
    assert!(body.is_end_stream());
    recorder.assert_clean();
}

#[tokio::test]
async fn an_empty_body_ends_at_once() {
    let recorder = Recorder::new();
    let (body, log) = body(&recorder, Empty::<Bytes>::new(), None).await;
    assert_eq!(*log.lock().unwrap(), ["0 bytes, trailers false", "measure ok"]);
    assert!(body.is_end_stream());
    recorder.assert_clean();
}

#[tokio::test]
async fn trailers_are_the_end() {
    let recorder = Recorder::new();
    let inner = frames(vec![data("123"), Ok(Frame::trailers(HeaderMap::new()))]);
    let (mut body, log) = body(&recorder, inner, None).await;
    body.frame().await.unwrap().unwrap();
    assert!(log.lock().unwrap().is_empty());
    body.frame().await.unwrap().unwrap();
    assert_eq!(*log.lock().unwrap(), ["3 bytes, trailers true", "measure ok"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_error_is_the_end_and_later_frames_are_passed_on() {
    let recorder = Recorder::new();
    let inner = frames(vec![data("123"), Err("broken".to_owned()), data("more")]);
    let (mut body, log) = body(&recorder, inner, None).await;
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "broken");
    assert_eq!(*log.lock().unwrap(), ["measure failed"]);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "more");
    drop(body);
    assert_eq!(*log.lock().unwrap(), ["measure failed"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_dropped_body_is_cancelled_unless_it_is_complete() {
    for (length, reads, end) in [
        (None, true, "measure cancelled"),
        (Some(3), true, "measure ok"),
        (Some(3), false, "measure cancelled"),
        (Some(4), true, "measure cancelled"),
    ] {
        let recorder = Recorder::new();
        let (mut body, log) = body(&recorder, frames(vec![data("123")]), length).await;
        if reads {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        assert_eq!(log.lock().unwrap().last().unwrap(), end, "{length:?} {reads}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_body_that_ends_before_its_declared_length_is_short() {
    for (length, end) in [(Some(3), "measure ok"), (Some(4), "measure short"), (None, "measure ok")] {
        let recorder = Recorder::new();
        let (body, log) = body(&recorder, frames(vec![data("123")]), length).await;
        body.collect().await.unwrap();
        assert_eq!(log.lock().unwrap().last().unwrap(), end, "{length:?}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_body_after_the_end_is_observed_until_its_own_end() {
    for (read, status, counted) in
        [(2, 200, "6 bytes of body"), (1, 200, "3 bytes of body"), (0, 204, "0 bytes of body")]
    {
        let recorder = Recorder::new();
        let layer = layer(&recorder, None);
        let log = Arc::clone(&layer.log);
        let response = Response::builder().status(status).header("head", "counted");
        let response = response.body(frames(vec![data("123"), data("456")])).unwrap();
        let (mut body, _) = respond(layer, response).await;
        assert_eq!(recorder.spans().len(), 1);
        for _ in 0..read {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let mut log = std::mem::take(&mut *log.lock().unwrap());
        log.sort();
        let mut all = ["0 bytes, trailers false", counted, "measure ok"];
        all.sort_unstable();
        assert_eq!(log, all, "{status}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_response_that_allows_no_body_ends_with_its_head() {
    for (status, spans) in [(200, 0), (204, 1), (304, 1), (103, 1)] {
        let recorder = Recorder::new();
        let response = Response::builder().status(status).body(frames(vec![data("123")])).unwrap();
        let (body, _) = respond(layer(&recorder, None), response).await;
        assert_eq!(recorder.spans().len(), spans, "{status}");
        drop(body);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn the_context_is_current_while_the_body_is_polled_also_after_the_request() {
    let span_of = |context: &Context| context.span().span_context().span_id().to_string();
    let current = move || {
        StreamBody::new(Box::pin(futures_util::stream::unfold((), move |()| async move {
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(Context::map_current(span_of)))), ()))
        })))
    };
    let recorder = Recorder::new();
    let ends_at_head = Response::builder().header("head", "1");
    for response in [Response::new(current()), ends_at_head.body(current()).unwrap()] {
        let (mut body, context) = respond(layer(&recorder, None), response).await;
        let text = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(text, span_of(&context));
    }
    let mut filtered = layer(&recorder, None);
    filtered.options.set_filter(|_| false);
    let (mut body, _) = respond(filtered, Response::new(current())).await;
    let text = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(text, span_of(&Context::new()), "without a caller there is no span");
    assert_eq!(recorder.spans().len(), 2);
}

/// A body that panics when it is polled, and then at each question about its end, as one with a poisoned lock does.
#[derive(Default)]
struct Poisoned(bool);

impl Body for Poisoned {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 = true;
        panic!("a bug in a body")
    }

    fn is_end_stream(&self) -> bool {
        assert!(!self.0, "poisoned");
        false
    }
}

#[tokio::test]
async fn a_body_that_panicked_is_dropped_without_a_second_panic() {
    let recorder = Recorder::new();
    let (mut body, log) = body(&recorder, Poisoned::default(), None).await;
    // The body is dropped while the task unwinds, where a panic would abort the process.
    let task = tokio::spawn(async move { body.frame().await.map(drop) });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(*log.lock().unwrap(), ["measure panic"]);
    recorder.assert_clean();
}
