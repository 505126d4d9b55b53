//! The measurement of one cell on one thread, with the caller's context current.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use benchmarks::measure::{self, Mode};
use benchmarks::messages::Variant;
use benchmarks::sdk::{self, Metrics};
use bytes::Bytes;
use http::{HeaderName, Request, Response};
use opentelemetry::Context;
use otel_resilience::{
    BulkheadLayer, CircuitBreakerLayer, Deadline, DeadlineHeader, DeadlineLayer, DeadlineServerLayer,
    HedgeLayer, RateLimitLayer, Retry, RetryLayer,
};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::cell::{Candidate, Side};
use crate::floor;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-timeout-ms");

pub(crate) type Body = http_body_util::Full<Bytes>;

/// A service that responds at once.
#[derive(Clone, Debug)]
pub(crate) struct Backend;

impl Service<Request<Body>> for Backend {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Body::new(Bytes::from_static(b"ok\n")))))
    }
}

pub(crate) fn measure(side: Side, candidate: Candidate, variant: Variant, mode: Mode) {
    let metrics = variant.install();
    let mut caller = variant.caller();
    if candidate == Candidate::Ours && side == Side::Deadline {
        caller = Deadline::after(TIMEOUT).in_context(&caller);
    }
    let _current = caller.attach();
    // Timers need a runtime. No future waits, so that it never runs.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("the runtime starts");
    let _entered = runtime.enter();
    let cell = Cell { side, candidate, variant, mode, metrics };
    let header = || DeadlineHeader::milliseconds(HEADER);
    match (side, candidate) {
        (_, Candidate::Bare) => cell.run(Backend),
        (Side::Retry, Candidate::Floor) => cell.run(floor::retry()),
        (Side::Retry, _) => {
            let retry = Retry::new("backend").with_span(candidate == Candidate::Span);
            cell.run(RetryLayer::new(retry).layer(Backend));
        }
        (Side::Deadline, Candidate::Floor) => cell.run(floor::sending()),
        (Side::Server, Candidate::Floor) => cell.run(floor::Receiving),
        (Side::Deadline, _) => cell.run(DeadlineLayer::new().with_header(header()).layer(Backend)),
        (Side::Server, _) => cell.run(DeadlineServerLayer::new(header()).layer(Backend)),
        (Side::Breaker, Candidate::Floor) => cell.run(floor::breaker()),
        (Side::Breaker, _) => cell.run(CircuitBreakerLayer::new("backend", TIMEOUT).layer(Backend)),
        (Side::Bulkhead, Candidate::Floor) => cell.run(floor::bulkhead()),
        (Side::Bulkhead, _) => {
            let layer = BulkheadLayer::new("backend", 16).with_max_wait(Duration::from_millis(50));
            cell.run(layer.layer(Backend));
        }
        (Side::RateLimit, Candidate::Floor) => cell.run(floor::rate_limit()),
        (Side::RateLimit, _) => {
            cell.run(RateLimitLayer::new("backend", usize::MAX, Duration::from_secs(1)).layer(Backend));
        }
        (Side::Hedge, Candidate::Floor) => cell.run(floor::hedge()),
        (Side::Hedge, _) => cell.run(HedgeLayer::new("backend", TIMEOUT).layer(Backend)),
    }
}

struct Cell {
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<Metrics>,
}

impl Cell {
    fn run<S>(&self, mut service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>>,
    {
        let has_header = self.side == Side::Server && self.candidate != Candidate::Unused;
        let request = || {
            let mut request =
                Request::get("http://backend.internal/items/7").header("accept", "application/json");
            if has_header {
                request = request.header(HEADER, "20000");
            }
            request.body(Body::default()).expect("the request is valid")
        };
        let mut work = |request: Request<Body>| {
            let mut cx = TaskContext::from_waker(Waker::noop());
            assert!(service.poll_ready(&mut cx).is_ready(), "the service is ready");
            let future = pin!(service.call(request));
            match future.poll(&mut cx) {
                Poll::Ready(Ok(response)) => drop(black_box(response)),
                _ => panic!("the service responds at once"),
            }
        };
        let spans = sdk::spans_of(|| work(request()));
        self.check(spans.len());
        measure::measure(self.mode, request, work);
    }

    /// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
    fn check(&self, spans: usize) {
        let has_span = self.candidate == Candidate::Span && self.variant == Variant::Sampled;
        assert_eq!(spans, usize::from(has_span), "spans");
        let deadline = Context::map_current(Deadline::from_context).is_some();
        assert_eq!(deadline, self.side == Side::Deadline && self.candidate == Candidate::Ours, "deadline");
        let Some(metrics) = &self.metrics else { return };
        let waits =
            self.candidate == Candidate::Ours && matches!(self.side, Side::Bulkhead | Side::RateLimit);
        let recorded: Vec<String> = metrics.points().into_iter().map(|point| point.name).collect();
        let expected: &[&str] = if waits { &["resilience.wait.duration"] } else { &[] };
        assert_eq!(recorded, expected, "metrics");
    }
}
