//! Calls that are polled where their context is not current: another task, which a caller spawned without it.

use std::time::Duration;

use http::Request;
use opentelemetry::trace::TraceContextExt;
use otel_resilience::{
    BoxError, BulkheadLayer, CircuitBreakerLayer, Deadline, DeadlineHeader, RateLimitLayer,
};
use otel_testing::Recorder;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt};

use crate::support::{Answer, Backend, Body, attribute, caller, events, get, instrumentation};

const SECOND: Duration = Duration::from_secs(1);

type Client = BoxCloneService<Request<Body>, http::Response<Body>, BoxError>;

/// Sends two calls of which the second is refused, each on a task that knows no context.
async fn call_twice(recorder: &Recorder, mut service: Client) {
    let context = caller(recorder);
    let within = Deadline::after(SECOND).in_context(&context);
    for is_sent in [true, false] {
        let call = {
            let _attached = within.clone().attach();
            service.ready().await.unwrap().call(get())
        };
        assert_eq!(tokio::spawn(call).await.unwrap().is_ok(), is_sent);
    }
    context.span().end();
    recorder.assert_clean();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 3, "the call, the refusal and the caller");
    for span in spans.iter().filter(|span| span.name != "caller") {
        assert_eq!(span.parent_span_id, context.span().span_context().span_id(), "{}", recorder.tree());
    }
    let sent = spans.iter().find(|span| span.name == "GET").unwrap();
    assert_eq!(attribute(sent, "resilience.deadline.remaining").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_breaker_are_in_the_context_of_their_caller() {
    let recorder = Recorder::new();
    let layer = CircuitBreakerLayer::new("stock", SECOND * 5).with_window(1, 1);
    let layer = layer.with_header(DeadlineHeader::grpc()).with_instrumentation(&instrumentation(&recorder));
    let backend = Backend::new([Answer::Status(500)]);
    call_twice(&recorder, BoxCloneService::new(layer.layer(backend.client(&recorder)))).await;
    assert_eq!(backend.requests()[0].get("grpc-timeout").unwrap(), "1000000u");
    let transitions = events(&recorder.span("caller"), "resilience.circuit_breaker.transition");
    assert_eq!(transitions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_rate_limit_are_in_the_context_of_their_caller() {
    let recorder = Recorder::new();
    let layer = RateLimitLayer::new("stock", 1, SECOND).with_instrumentation(&instrumentation(&recorder));
    call_twice(&recorder, BoxCloneService::new(layer.layer(Backend::new([]).client(&recorder)))).await;
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_bulkhead_are_in_the_context_of_their_caller() {
    let recorder = Recorder::new();
    let layer = BulkheadLayer::new("stock", 1).with_instrumentation(&instrumentation(&recorder));
    let mut service = layer.layer(Backend::new([]).with_delay(SECOND / 2).client(&recorder));
    let context = caller(&recorder);
    let mut calls = Vec::new();
    for _ in 0..2 {
        let ready = service.ready().await.unwrap();
        let _attached = context.clone().attach();
        calls.push(tokio::spawn(ready.call(get())));
    }
    let results = futures_util::future::join_all(calls).await;
    assert_eq!(results.iter().filter(|result| result.as_ref().unwrap().is_ok()).count(), 1);
    context.span().end();
    recorder.assert_clean();
    let parents = recorder.spans().into_iter().filter(|span| span.name != "caller");
    let parents: Vec<_> = parents.map(|span| span.parent_span_id).collect();
    assert_eq!(parents, [context.span().span_context().span_id(); 2], "{}", recorder.tree());
}
