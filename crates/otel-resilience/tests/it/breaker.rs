//! The circuit breaker: its states, the calls that it refuses, the results that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, TraceContextExt};
use otel_resilience::{
    BoxError, CircuitBreakerLayer, CircuitBreakerService, CircuitState, Deadline, DeadlineHeader,
    DeadlineLayer, ResilienceError,
};
use otel_testing::Recorder;
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};

use crate::support::{
    Answer, Backend, Body, Client, attribute, caller, error_type, events, found, get, instrumentation,
};

const SECOND: Duration = Duration::from_secs(1);
/// The open time of tests that wait until it is over, by the clock of the system.
const OPEN: Duration = Duration::from_millis(250);

fn breaker(recorder: &Recorder) -> CircuitBreakerLayer {
    let layer = CircuitBreakerLayer::new("payments", SECOND).with_window(4, 4).with_half_open_calls(2);
    layer.with_open_time(OPEN).with_instrumentation(&instrumentation(recorder))
}

async fn call(service: &CircuitBreakerService<Client>) -> Result<u16, ResilienceError> {
    match service.clone().oneshot(get()).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) if error.is::<std::io::Error>() => Ok(0),
        Err(error) => Err(found(&error)),
    }
}

fn open() -> Result<u16, ResilienceError> {
    Err(ResilienceError::CircuitOpen { name: "payments".into() })
}

/// The calls each run on a task of their own, of a runtime with several threads, below a caller's span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_dies_and_returns_opens_and_closes_the_circuit() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder);
    let backend = Backend::new([200, 503, 503].map(Answer::Status));
    backend.push(Answer::Error);
    let service = layer.layer(backend.client(&recorder));
    let context = caller(&recorder);
    let call = async || {
        let service = service.clone();
        tokio::spawn(async move { call(&service).await }.with_context(context.clone())).await.unwrap()
    };
    for expected in [Ok(200), Ok(503), Ok(503), Ok(0), open(), open()] {
        assert_eq!(call().await, expected);
    }
    assert_eq!((layer.state(), backend.calls()), (CircuitState::Open, 4));
    tokio::time::sleep(OPEN).await;
    // It returned, and dies once more.
    backend.push(Answer::Status(200));
    backend.push(Answer::Status(500));
    assert_eq!((call().await, layer.state()), (Ok(200), CircuitState::HalfOpen));
    assert_eq!((call().await, layer.state()), (Ok(500), CircuitState::Open));
    assert_eq!(call().await, open());
    tokio::time::sleep(OPEN).await;
    assert_eq!((call().await, call().await, layer.state()), (Ok(200), Ok(200), CircuitState::Closed));
    context.span().end();
    recorder.assert_clean();

    let parent = recorder.span("caller");
    let of = |key: &str| {
        let transitions = events(&parent, "resilience.circuit_breaker.transition");
        let value =
            |event: &Vec<(String, String)>| event.iter().find(|(name, _)| name == key).unwrap().1.clone();
        transitions.iter().map(value).collect::<Vec<_>>()
    };
    let states = ["open", "half_open", "open", "half_open", "closed"];
    assert_eq!(of("resilience.circuit_breaker.state"), states);
    assert_eq!(
        of("resilience.circuit_breaker.previous_state"),
        ["closed", "open", "half_open", "open", "half_open"]
    );
    let transitions = recorder.metric("resilience.circuit_breaker.transitions");
    assert_eq!(transitions.clone().with("resilience.circuit_breaker.state", "open").sum(), 2.0);
    assert_eq!(transitions.sum(), 5.0);
    let spans = recorder.spans();
    let refused: Vec<_> = spans.iter().filter(|span| span.name == "circuit_breaker payments").collect();
    assert_eq!(refused.len(), 3, "{}", recorder.tree());
    for span in refused {
        assert_eq!(error_type(span).as_deref(), Some("circuit_open"));
        assert_eq!(span.parent_span_id, parent.span_context.span_id());
    }
    let metric = recorder.metric("resilience.refused_calls").with("error.type", "circuit_open");
    assert_eq!(metric.with("resilience.name", "payments").sum(), 3.0);
    assert_eq!(recorder.metric("http.client.request.duration").count() as usize, backend.calls());
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_open_the_circuit() {
    tokio::time::timeout(SECOND * 100, hanging_calls()).await.unwrap();
}

async fn hanging_calls() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder);
    let service = layer.layer(Backend::always(Answer::Hang).client(&recorder));
    for _ in 0..4 {
        assert_eq!(call(&service).await, Err(ResilienceError::TimedOut));
    }
    assert_eq!(call(&service).await, open());
    // Also if the callers have less time than the breaker.
    let layer = layer.with_window(4, 4);
    let service = layer.layer(Backend::always(Answer::Hang).client(&recorder));
    for _ in 0..4 {
        let context = Deadline::after(SECOND / 10).in_context(&Context::new());
        assert_eq!(call(&service).with_context(context).await, Err(ResilienceError::TimedOut));
    }
    assert_eq!((call(&service).await, layer.state()), (open(), CircuitState::Open));
    recorder.assert_clean();
    let attempts = recorder.spans().into_iter().filter(|span| span.name == "GET");
    assert!(attempts.map(|span| error_type(&span)).all(|error| error.as_deref() == Some("timeout")));
}

#[tokio::test(start_paused = true)]
async fn neither_dropped_calls_nor_calls_without_time_count() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder);
    let backend = Backend::always(Answer::Hang);
    let service = layer.layer(backend.client(&recorder));
    for _ in 0..10 {
        tokio::time::timeout(SECOND / 10, call(&service)).await.unwrap_err();
        let context = Deadline::after(Duration::ZERO).in_context(&Context::new());
        assert_eq!(call(&service).with_context(context).await, Err(ResilienceError::DeadlineRefused));
    }
    assert_eq!((layer.state(), backend.calls()), (CircuitState::Closed, 10));
    assert_eq!(
        recorder.metric("resilience.refused_calls").with("resilience.pattern", "deadline").sum(),
        10.0
    );
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_header_leaves_no_time_does_not_count() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder).with_header(DeadlineHeader::grpc());
    let backend = Backend::new([]);
    let service = layer.layer(backend.client(&recorder));
    for _ in 0..10 {
        let mut request = get();
        request.headers_mut().insert("grpc-timeout", http::HeaderValue::from_static("0m"));
        let error = service.clone().oneshot(request).await.unwrap_err();
        assert_eq!(found(&error), ResilienceError::DeadlineRefused);
    }
    assert_eq!((layer.state(), backend.calls()), (CircuitState::Closed, 0));
    let refused = recorder.metric("resilience.refused_calls").with("resilience.pattern", "deadline");
    assert_eq!(refused.sum(), 10.0);
    recorder.assert_clean();
}

/// An open circuit promises a refusal when it is polled ready; the deadline refuses the call in its place.
#[tokio::test]
async fn a_call_refused_by_its_deadline_leaves_no_refusal_to_the_next() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder).with_window(1, 1).with_half_open_calls(1);
    let mut service = layer.layer(Backend::new([Answer::Status(500)]).client(&recorder));
    service.ready().await.unwrap().call(get()).await.unwrap();
    assert_eq!(layer.state(), CircuitState::Open);
    let refused = {
        let context = Deadline::after(Duration::ZERO).in_context(&Context::new());
        let _attached = context.attach();
        service.ready().await.unwrap().call(get())
    };
    assert_eq!(found(&refused.await.unwrap_err()), ResilienceError::DeadlineRefused);
    tokio::time::sleep(OPEN).await;
    assert_eq!((call(&service).await, layer.state()), (Ok(200), CircuitState::Closed));
    assert_eq!(service.ready().await.unwrap().call(get()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_half_open_circuit_sends_few_calls_at_once() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder);
    let (gate, running, most) = (Arc::new(Semaphore::new(0)), AtomicUsize::new(0), AtomicUsize::new(0));
    let state = Arc::new((gate, running, most));
    let inner = Arc::clone(&state);
    let service = layer.layer(tower::service_fn(move |request: Request<Body>| {
        let state = Arc::clone(&inner);
        async move {
            if request.headers().contains_key("fail") {
                return Ok::<_, BoxError>(Response::builder().status(500).body(Body::default()).unwrap());
            }
            let (gate, running, most) = &*state;
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Response::new(Body::default()))
        }
    }));
    for _ in 0..4 {
        let mut request = get();
        request.headers_mut().insert("fail", http::HeaderValue::from_static("1"));
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(layer.state(), CircuitState::Open);
    tokio::time::sleep(OPEN).await;
    let calls = join_all((0..20).map(|_| service.clone().oneshot(get())));
    let release = async {
        while state.1.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        state.0.add_permits(20);
    };
    let (results, ()) = tokio::join!(calls, release);
    let sent = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!((sent, state.2.load(Ordering::SeqCst)), (2, 2));
    assert_eq!(layer.state(), CircuitState::Closed, "both succeeded");
    assert_eq!(recorder.metric("resilience.refused_calls").sum(), 18.0);
}

#[tokio::test]
async fn a_half_open_call_that_is_dropped_gives_its_place_back() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder).with_half_open_calls(1);
    let backend = Backend::new([Answer::Error, Answer::Error, Answer::Error, Answer::Error, Answer::Hang]);
    let service = layer.layer(backend.client(&recorder));
    for _ in 0..4 {
        assert_eq!(call(&service).await, Ok(0));
    }
    tokio::time::sleep(OPEN).await;
    tokio::time::timeout(Duration::from_millis(5), call(&service)).await.unwrap_err();
    assert_eq!((layer.state(), call(&service).await), (CircuitState::HalfOpen, Ok(200)));
    assert_eq!(layer.state(), CircuitState::Closed);
}

#[tokio::test]
async fn the_window_slides() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder).with_window(10, 10).with_failure_rate(0.5);
    let backend = Backend::new([]);
    let service = layer.layer(backend.client(&recorder));
    for _ in 0..200 {
        assert_eq!(call(&service).await, Ok(200));
    }
    for failure in 1..=5 {
        assert_eq!(layer.state(), CircuitState::Closed, "{failure}");
        backend.push(Answer::Status(500));
        assert_eq!(call(&service).await, Ok(500));
    }
    assert_eq!(layer.state(), CircuitState::Open, "five of the last ten calls failed");
}

#[tokio::test]
async fn services_of_clones_share_the_state_and_an_edited_layer_has_its_own() {
    let recorder = Recorder::new();
    let layer = breaker(&recorder);
    let backend = Backend::always(Answer::Error);
    for _ in 0..4 {
        assert_eq!(call(&layer.clone().layer(backend.client(&recorder))).await, Ok(0));
    }
    assert_eq!(call(&layer.layer(backend.client(&recorder))).await, open());
    let other = layer.clone().with_open_time(SECOND);
    assert_eq!((layer.state(), other.state()), (CircuitState::Open, CircuitState::Closed));
}

#[tokio::test]
async fn responses_that_count_as_failures() {
    let opens = async |layer: CircuitBreakerLayer, status: u16, grpc: Option<&'static str>| {
        let layer = layer.with_window(1, 1);
        let service = layer.layer(tower::service_fn(move |_: Request<Body>| async move {
            let response = Response::builder().status(status);
            let response = grpc.into_iter().fold(response, |one, code| one.header("grpc-status", code));
            Ok::<_, BoxError>(response.body(Body::default()).unwrap())
        }));
        service.oneshot(get()).await.unwrap();
        layer.state() == CircuitState::Open
    };
    let recorder = Recorder::new();
    let layer = breaker(&recorder);
    for (status, expected) in [(200, false), (404, false), (429, false), (500, true), (503, true)] {
        assert_eq!(opens(layer.clone(), status, None).await, expected, "{status}");
    }
    for (code, expected) in
        [("0", false), ("5", false), ("12", false), ("13", true), ("14", true), ("x", true)]
    {
        assert_eq!(opens(layer.clone(), 200, Some(code)).await, expected, "{code}");
    }
    let too_many = layer.clone().with_failures(|head| head.status == 429);
    assert!(opens(too_many.clone(), 429, None).await);
    assert!(!opens(too_many, 500, None).await);
    let panics = layer.with_failures(|_| panic!("a rule that panics"));
    assert!(!opens(panics, 500, None).await);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_that_is_sent_is_the_deadline_of_the_code_inside() {
    let recorder = Recorder::new();
    let backend = Backend::new([]);
    let sending = breaker(&recorder).with_header(DeadlineHeader::grpc());
    assert_eq!(call(&sending.layer(backend.client(&recorder))).await, Ok(200));
    assert_eq!(call(&breaker(&recorder).layer(backend.client(&recorder))).await, Ok(200));
    let sent: Vec<_> =
        backend.requests().iter().map(|headers| headers.get("grpc-timeout").cloned()).collect();
    assert_eq!(sent, [Some(http::HeaderValue::from_static("1000000u")), None]);
    let left: Vec<_> =
        recorder.spans().iter().map(|span| attribute(span, "resilience.deadline.remaining")).collect();
    assert_eq!(left, [Some("1".to_owned()), None]);
}

#[tokio::test]
async fn settings_out_of_range_are_limited() {
    let recorder = Recorder::new();
    for rate in [f64::NAN, -1.0, 0.0, 9.0, f64::INFINITY] {
        for calls in [0, usize::MAX] {
            let layer = breaker(&recorder).with_failure_rate(rate).with_window(calls, usize::MAX);
            let layer = layer.with_half_open_calls(calls).with_open_time(Duration::MAX);
            let service = layer.layer(Backend::always(Answer::Error).client(&recorder));
            assert_eq!(call(&service).await, Ok(0));
            assert_eq!(layer.state() == CircuitState::Open, calls == 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_minimum_outside_of_the_breaker_keeps_short_deadlines_from_opening_it() {
    let recorder = Recorder::new();
    for (minimum, state) in [(1, CircuitState::Open), (20, CircuitState::Closed)] {
        let layer = breaker(&recorder);
        let backend = Backend::new([]).with_delay(Duration::from_millis(10));
        let deadline = DeadlineLayer::new().with_minimum(Duration::from_millis(minimum));
        let service = deadline.layer(layer.layer(backend.client(&recorder)));
        for _ in 0..4 {
            let context = Deadline::after(Duration::from_millis(3)).in_context(&Context::new());
            service.clone().oneshot(get()).with_context(context).await.unwrap_err();
        }
        assert_eq!(layer.state(), state, "{minimum}");
    }
}
