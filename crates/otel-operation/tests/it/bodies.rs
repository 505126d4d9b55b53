//! Operations over bodies: they end with the last frame, with an error, or on drop.

use std::convert::Infallible;

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use otel_operation::{ObserveBody, Operation, OperationBody, Outcome};
use otel_testing::Recorder;

use crate::support::{Job, Told, counting, start};

impl<B: Body> ObserveBody<B> for Job {
    fn on_data(operation: &mut Operation<Self>, data: &B::Data) {
        operation.observer_mut().bytes += data.remaining();
    }

    fn on_end(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        self.tell(format!("{} bytes, trailers {}", self.bytes, trailers.is_some()));
        Outcome::ok()
    }

    fn on_error(&mut self, _: &B::Error) -> Outcome {
        Outcome::error("failed")
    }
}

fn ends(told: &Told) -> Vec<String> {
    let told = told.lock().unwrap();
    told.iter().filter(|what| what.contains("bytes") || what.starts_with("measure")).cloned().collect()
}

fn frames(frames: Vec<Result<Frame<Bytes>, String>>) -> impl Body<Data = Bytes, Error = String> + Unpin {
    StreamBody::new(futures_util::stream::iter(frames))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, String> {
    Ok(Frame::data(Bytes::from(text)))
}

#[tokio::test]
async fn a_body_that_says_that_it_is_at_its_end_need_not_be_polled_again() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let body = Full::new(Bytes::from("12345"));
    let mut body = OperationBody::<_, Job>::new(body, start(&recorder, job), None);
    assert_eq!(body.size_hint().exact(), Some(5), "the wrapped body's hints are its own");
    assert!(!body.is_end_stream());
    body.frame().await.unwrap().unwrap();
    assert_eq!(ends(&told), ["5 bytes, trailers false", "measure ok"]);
    assert!(body.is_end_stream());
    recorder.assert_clean();
}

#[tokio::test]
async fn an_empty_body_ends_at_once() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let body: OperationBody<Empty<Bytes>, Job> =
        OperationBody::new(Empty::new(), start(&recorder, job), None);
    assert_eq!(ends(&told), ["0 bytes, trailers false", "measure ok"]);
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn trailers_are_the_end() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let body = frames(vec![data("123"), Ok(Frame::trailers(HeaderMap::new()))]);
    let mut body = OperationBody::<_, Job>::new(body, start(&recorder, job), None);
    body.frame().await.unwrap().unwrap();
    assert!(ends(&told).is_empty());
    body.frame().await.unwrap().unwrap();
    assert_eq!(ends(&told), ["3 bytes, trailers true", "measure ok"]);
}

#[tokio::test]
async fn an_error_is_the_end() {
    let recorder = Recorder::new();
    let (job, told) = counting();
    let body = frames(vec![data("123"), Err("broken".to_owned()), data("more")]);
    let mut body = OperationBody::<_, Job>::new(body, start(&recorder, job), None);
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "broken");
    assert_eq!(ends(&told), ["measure failed"]);
    assert!(body.frame().await.unwrap().is_ok(), "what comes after it still comes");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_drop_is_the_end_and_a_good_one_where_nothing_was_missing() {
    for (length, read, end) in [
        (None, true, "measure cancelled"),
        (Some(3), true, "measure ok"),
        (Some(3), false, "measure cancelled"),
        (Some(4), true, "measure cancelled"),
    ] {
        let recorder = Recorder::new();
        let (job, told) = counting();
        let mut body = OperationBody::<_, Job>::new(frames(vec![data("123")]), start(&recorder, job), length);
        if read {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        assert_eq!(ends(&told).last().unwrap(), end, "{length:?} {read}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn the_context_is_current_while_the_body_is_polled_also_after_the_operation() {
    let recorder = Recorder::new();
    let (job, _) = counting();
    let operation = start(&recorder, job);
    let context = operation.context().clone();
    let own = context.span().span_context().span_id().to_string();
    let current = || {
        let span = Context::map_current(|cx| cx.span().span_context().span_id().to_string());
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(span))), ()))
    };
    let stream =
        || StreamBody::new(Box::pin(futures_util::stream::unfold((), move |()| async move { current() })));
    let text = |frame: Frame<Bytes>| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    let mut body = OperationBody::<_, Job>::new(stream(), operation, None);
    assert_eq!(text(body.frame().await.unwrap().unwrap()), own);
    drop(body);
    let mut body = OperationBody::<_, Job>::with_context(stream(), context);
    assert_eq!(text(body.frame().await.unwrap().unwrap()), own);
    let mut body = OperationBody::<_, Job>::passthrough(stream());
    assert_ne!(text(body.frame().await.unwrap().unwrap()), own);
}
