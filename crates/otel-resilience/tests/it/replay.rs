//! Bodies that are read before they are sent: which of them can be sent again, and that all arrive unchanged.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use otel_resilience::{CloneReplay, CloneRequest, ReplayBody, ReplayLayer, Retry, RetryLayer};
use proptest::prelude::*;
use tower::{Layer, ServiceBuilder, ServiceExt};

/// A step of a [`Script`].
#[derive(Clone, Debug)]
enum Step {
    Data(&'static str),
    /// Not ready once.
    Wait,
    Trailers,
    Fail,
}

/// A body that does these steps and cannot be cloned.
#[derive(Debug)]
struct Script(VecDeque<Step>);

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(Some(match self.0.pop_front() {
            None => return Poll::Ready(None),
            Some(Step::Data(data)) => Ok(Frame::data(Bytes::from(data))),
            Some(Step::Trailers) => {
                Ok(Frame::trailers(HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())])))
            }
            Some(Step::Fail) => Err("failed"),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(
            self.0.iter().map(|step| if let Step::Data(data) = step { data.len() as u64 } else { 0 }).sum(),
        );
        hint
    }
}

async fn text<B: Body + Unpin>(body: B) -> Result<(Bytes, bool), B::Error> {
    let collected = body.collect().await?;
    let has_trailers = collected.trailers().is_some();
    Ok((collected.to_bytes(), has_trailers))
}

/// Sends a body through the layer; returns it as it arrived, and as it arrived when it was sent again.
async fn send(steps: &[Step], max: usize) -> (Result<(Bytes, bool), &'static str>, Option<(Bytes, bool)>) {
    let service = tower::service_fn(async |request: Request<ReplayBody<Script>>| {
        let again = CloneReplay::default().clone_request(&request);
        let body = request.into_body();
        let (low, high) = (body.size_hint().lower(), body.size_hint().upper());
        let is_end = body.is_end_stream();
        let first = text(body).await;
        if let Ok((data, has_trailers)) = &first {
            let len = data.len() as u64;
            assert!(low <= len && high.is_none_or(|high| high >= len), "{low} {high:?} {len}");
            assert!(!is_end || (data.is_empty() && !has_trailers));
        }
        let again = match again {
            Some(again) => Some(text(again.into_body()).await.unwrap()),
            None => None,
        };
        Ok::<_, Infallible>((first, again))
    });
    let request = Request::new(Script(steps.iter().cloned().collect()));
    ReplayLayer::new(max).layer(service).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_body_that_is_ready_can_be_sent_again() {
    let data = |text: &'static str| Bytes::from(text);
    for (steps, expected) in [
        (vec![], (data(""), false)),
        (vec![Step::Data("five")], (data("five"), false)),
        (vec![Step::Data("fi"), Step::Data("ve"), Step::Trailers], (data("five"), true)),
    ] {
        let (first, again) = send(&steps, 4).await;
        assert_eq!((first, again), (Ok(expected.clone()), Some(expected)), "{steps:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_large_or_not_ready_is_sent_once_and_unchanged() {
    for (steps, expected) in [
        (vec![Step::Data("five"), Step::Data("!"), Step::Data("more")], Ok("five!more")),
        (vec![Step::Data("five"), Step::Wait, Step::Data("more"), Step::Trailers], Ok("five")),
        (vec![Step::Wait, Step::Data("five")], Ok("five")),
        (vec![Step::Data("five"), Step::Fail], Err("failed")),
    ] {
        let (first, again) = send(&steps, 4).await;
        let first = first.map(|(data, _)| data);
        match expected {
            Ok(expected) => assert!(first.unwrap().starts_with(expected.as_bytes()), "{steps:?}"),
            Err(error) => assert_eq!(first.unwrap_err(), error),
        }
        assert_eq!(again, None, "{steps:?}");
    }
}

#[tokio::test]
async fn trailers_before_an_end_that_is_not_ready_arrive() {
    let steps = [Step::Data("five"), Step::Trailers, Step::Wait];
    assert_eq!(send(&steps, 4).await, (Ok((Bytes::from("five"), true)), None));
}

#[tokio::test]
async fn a_body_of_empty_frames_without_end_is_not_read_for_ever() {
    let mut frames = 0;
    let body = futures_util::stream::iter(std::iter::from_fn(|| {
        frames += 1;
        assert!(frames < 100, "the layer reads on");
        Some(Ok::<_, Infallible>(Frame::data(Bytes::new())))
    }));
    let service = tower::service_fn(async |_: Request<_>| Ok::<_, Infallible>(Response::new(())));
    let request = Request::new(http_body_util::StreamBody::new(body));
    ReplayLayer::new(16).layer(service).oneshot(request).await.unwrap();
}

proptest! {
    #[test]
    fn a_body_arrives_as_it_was(kinds in proptest::collection::vec(0_u8..5, 0..8), max in 0_usize..12) {
        let steps: Vec<_> = kinds
            .iter()
            .map(|kind| [Step::Data("a"), Step::Data("bcd"), Step::Data(""), Step::Wait, Step::Data("efghi")][usize::from(*kind)].clone())
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ((first, again), plain) = runtime.block_on(async {
            (send(&steps, max).await, text(Script(steps.iter().cloned().collect())).await)
        });
        assert_eq!(first, plain.clone());
        assert!(again.is_none_or(|again| Ok(again) == plain));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_cloned_is_retried() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = Arc::clone(&seen);
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new(16))
        .layer(RetryLayer::new(Retry::new("stock")).with_clone_request(CloneReplay::default()))
        .service_fn(move |request: Request<ReplayBody<Script>>| {
            let seen = Arc::clone(&inner);
            async move {
                let body = text(request.into_body()).await.unwrap().0;
                seen.lock().unwrap().push(body);
                let response = Response::builder().status(503).body(Full::<Bytes>::default());
                Ok::<_, Infallible>(response.unwrap())
            }
        });
    let put = |steps: Vec<Step>| Request::put("/").body(Script(steps.into())).unwrap();
    client.clone().oneshot(put(vec![Step::Data("five")])).await.unwrap();
    assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), ["five"; 3]);
    client.oneshot(put(vec![Step::Data("five"), Step::Wait])).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["five"]);
}
