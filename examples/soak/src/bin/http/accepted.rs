//! The observer of the server: a service around the instrumented one that counts the outcomes of requests.
//!
//! It shares no code with the instrumentation, but implements the same documents:
//! <https://opentelemetry.io/docs/specs/semconv/http/> and the outcomes in `crates/otel-http/README.md`.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, Version, header};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use soak::{Class, Tally};
use tower::Service;

/// The counts of accepted requests and their outcomes. Clones share their counts.
#[derive(Clone, Default)]
pub(crate) struct Accepted {
    tally: Tally,
    total: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
}

impl Accepted {
    pub(crate) fn observe<S>(&self, inner: S) -> Observer<S> {
        Observer { inner, accepted: self.clone() }
    }

    /// The counts by class.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The number of accepted requests.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::SeqCst)
    }

    /// The number of accepted requests that have not ended.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    fn open_one(&self, version: Version) -> Exchange {
        self.total.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let version = if version == Version::HTTP_2 { "2" } else { "1.1" };
        let mut class = Class::default();
        class.version = Some(version.to_owned());
        Exchange { accepted: self.clone(), class, ended: false }
    }
}

/// An accepted request. Dropping it before its end counts as a panic or a cancellation.
struct Exchange {
    accepted: Accepted,
    class: Class,
    ended: bool,
}

impl Exchange {
    fn set_status(&mut self, status: StatusCode) {
        self.class.status = Some(i64::from(status.as_u16()));
    }

    /// Ends it with the class of its status.
    fn end(&mut self) {
        let failed = self.class.status.filter(|status| *status >= 500);
        self.end_with(failed.map(|status| status.to_string()));
    }

    fn end_with(&mut self, error: Option<String>) {
        if !std::mem::replace(&mut self.ended, true) {
            self.class.error = error;
            self.accepted.tally.add(std::mem::take(&mut self.class));
            self.accepted.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let error = if std::thread::panicking() { "panic" } else { "cancelled" };
        self.end_with(Some(error.to_owned()));
    }
}

/// The counting service.
#[derive(Clone)]
pub(crate) struct Observer<S> {
    inner: S,
    accepted: Accepted,
}

impl<S, B> Service<Request<B>> for Observer<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<ObservedBody>;
    type Error = S::Error;
    type Future = ObservedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = self.accepted.open_one(request.version());
        ObservedFuture { inner: self.inner.call(request), exchange: Some(exchange) }
    }
}

pin_project! {
    pub(crate) struct ObservedFuture<F> {
        #[pin]
        inner: F,
        exchange: Option<Exchange>,
    }
}

impl<F, E> Future for ObservedFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<ObservedBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let mut exchange = this.exchange.take();
        if let Some(exchange) = &mut exchange {
            exchange.set_status(response.status());
            let kind = response.headers().get(header::CONTENT_TYPE);
            if kind.is_some_and(|kind| kind == "text/event-stream") {
                exchange.end();
            }
        }
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Poll::Ready(Ok(response.map(|inner| ObservedBody {
            remaining: inner.size_hint().exact().or(length),
            inner,
            exchange,
        })))
    }
}

/// The body of a response, whose end determines the outcome of the request.
pub(crate) struct ObservedBody {
    inner: Body,
    remaining: Option<u64>,
    exchange: Option<Exchange>,
}

impl ObservedBody {
    fn is_over(&self) -> bool {
        self.remaining == Some(0) || self.inner.is_end_stream()
    }

    fn end(&mut self, how: impl FnOnce(&mut Exchange)) {
        if let Some(mut exchange) = self.exchange.take() {
            how(&mut exchange);
        }
    }
}

impl Drop for ObservedBody {
    fn drop(&mut self) {
        // hyper does not poll a body again after the last byte of its known length.
        if self.is_over() {
            self.end(Exchange::end);
        }
    }
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            None => self.end(Exchange::end),
            Some(Err(error)) => self.end(|exchange| exchange.end_with(Some(kind(error)))),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.remaining = self.remaining.map(|left| left.saturating_sub(bytes));
                if self.inner.is_end_stream() {
                    self.end(Exchange::end);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Returns the `error.type` of the errors with which the server's bodies fail.
fn kind(error: &axum::Error) -> String {
    // Each layer that a body passes through wraps its error.
    let causes = std::iter::successors(error.source(), |&error| error.source());
    let io = causes.filter_map(|error| error.downcast_ref::<io::Error>()).next();
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => "timeout".to_owned(),
        Some(io::ErrorKind::UnexpectedEof) => "body_incomplete".to_owned(),
        _ => format!("unexpected error: {error:?}"),
    }
}
