//! Propagation: extraction from headers only, sanitized injection, independence of the current context.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use otel_http::{ClientLayer, LayerOptions};
use otel_propagation::{
    CompositePropagator, HeaderInjector, PassThroughPropagator, PropagatorHandle, TraceContextPropagator,
};
use otel_testing::Recorder;
use tower::{Layer, Service as _, ServiceExt};

use crate::support::{self, TRACEPARENT, UNSAMPLED, client_layer, serve, server_layer};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The context that a handler observes.
fn seen() -> (String, String, Vec<String>) {
    let cx = Context::current();
    let span = cx.span().span_context().clone();
    let baggage = cx.baggage().iter().map(|(key, (value, _))| format!("{key}={value}")).collect();
    (span.trace_id().to_string(), span.trace_state().header(), baggage)
}

#[tokio::test]
async fn one_trace_runs_through_client_and_server_on_both_versions() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let (caller, callee) = (Recorder::new(), Recorder::new());
        let app =
            Router::new().route("/", get(|| async { format!("{:?}", seen()) })).layer(server_layer(&callee));
        let address = serve(app).await;
        let mut client = client_layer(&caller).layer(support::client(version));

        let root = Context::new()
            .with_remote_span_context(remote(TraceFlags::SAMPLED))
            .with_baggage([KeyValue::new("tenant", "acme")]);
        let ready = client.ready().await.unwrap();
        let attached = root.attach();
        let request = support::get(address, "/").version(version).body(Empty::<Bytes>::new()).unwrap();
        let response = ready.call(request);
        drop(attached);
        // The parent is the context of the call, not that of the poll.
        let body = response.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("{:?}", (TRACE, "a=1", ["tenant=acme"])));

        callee.wait_for_spans(1).await;
        let sent = caller.span("GET");
        let received = callee.spans().remove(0);
        assert_eq!(sent.span_context.trace_id().to_string(), TRACE);
        assert_eq!(received.parent_span_id, sent.span_context.span_id());
        assert!(received.parent_span_is_remote);
        caller.assert_clean();
        callee.assert_clean();
    }
}

fn remote(flags: TraceFlags) -> SpanContext {
    let state = TraceState::from_key_value([("a", "1")]).unwrap();
    SpanContext::new(TraceId::from_hex(TRACE).unwrap(), SpanId::from(7), flags, true, state)
}

#[tokio::test]
async fn a_request_without_headers_does_not_join_what_is_current() {
    let recorder = Recorder::new();
    let ambient = Context::new().with_remote_span_context(remote(TraceFlags::SAMPLED));
    let _attached = ambient.attach();
    let request = Request::get("/").body(Empty::new()).unwrap();
    let response = support::call(&server_layer(&recorder), request, |_| async {
        assert!(seen().2.is_empty());
        Response::new(Body::empty())
    });
    response.await;
    let span = recorder.span("GET");
    assert_ne!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id, SpanId::INVALID);
}

#[tokio::test]
async fn a_public_endpoint_links_its_caller_and_drops_its_baggage() {
    let recorder = Recorder::new();
    let request = || {
        let request = Request::get("/").header("traceparent", TRACEPARENT).header("baggage", "role=admin");
        request.body(Empty::new()).unwrap()
    };
    let layer = server_layer(&recorder).with_public_endpoint(true);
    support::call(&layer, request(), |_| async {
        assert!(seen().2.is_empty());
        Response::new(Body::empty())
    })
    .await;
    let span = recorder.span("GET");
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert_ne!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.links.links.len(), 1);
    assert_eq!(span.links.links[0].span_context.trace_id().to_string(), TRACE);

    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_public_endpoint_if(|head| head.headers.contains_key("via"));
    support::call(&layer, request(), |_| async { Response::new(Body::empty()) }).await;
    assert_eq!(recorder.span("GET").span_context.trace_id().to_string(), TRACE, "not from outside");
}

#[tokio::test]
async fn a_public_endpoint_passes_no_headers_through() {
    let pass_through = PassThroughPropagator::new(["x-request-id"]).unwrap();
    let propagator = CompositePropagator::default().with_pass_through(pass_through);
    for (public, recorded) in [(false, true), (false, false), (true, true), (true, false)] {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder).with_propagator(propagator.clone());
        let layer = layer.with_public_endpoint(public).with_filter(move |_| recorded);
        let request = Request::get("/").header("traceparent", TRACEPARENT).header("x-request-id", "r1");
        let response = support::call(&layer, request.body(Empty::new()).unwrap(), |_| async {
            let mut sent = HeaderMap::new();
            PropagatorHandle::new(propagator.clone())
                .inject(&Context::current(), &mut HeaderInjector(&mut sent));
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = sent;
            response
        })
        .await;
        assert_eq!(response.headers().contains_key("x-request-id"), !public, "public {public}");
        assert_eq!(recorder.spans().len(), usize::from(recorded));
    }
}

/// Reads Trace Context, and records if the carrier shows it a `baggage` header.
#[derive(Debug)]
struct SeesBaggage(Arc<AtomicBool>);

impl TextMapPropagator for SeesBaggage {
    fn inject_context(&self, _: &Context, _: &mut dyn Injector) {}

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        self.0.store(extractor.get("baggage").is_some(), Ordering::Relaxed);
        TraceContextPropagator::new().extract_with_context(cx, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&[])
    }
}

#[tokio::test]
async fn a_public_endpoint_parses_no_baggage() {
    for public in [true, false] {
        let (recorder, seen) = (Recorder::new(), Arc::new(AtomicBool::new(false)));
        let layer = server_layer(&recorder).with_propagator(SeesBaggage(Arc::clone(&seen)));
        let request = Request::get("/").header("traceparent", TRACEPARENT).header("baggage", "a=1");
        let layer = layer.with_public_endpoint(public);
        support::call(&layer, request.body(Empty::new()).unwrap(), |_| async {
            Response::new(Body::empty())
        })
        .await;
        assert_eq!(recorder.span("GET").links.links.len(), usize::from(public));
        assert_eq!(seen.load(Ordering::Relaxed), !public);
    }
}

/// Sends one request through a client layer and returns the headers that were sent.
async fn sent(layer: otel_http::ClientLayer, cx: Context, request: Request<Empty<Bytes>>) -> HeaderMap {
    let headers = Arc::new(Mutex::new(HeaderMap::new()));
    let service = tower::service_fn({
        let headers = Arc::clone(&headers);
        move |request: Request<Empty<Bytes>>| {
            *headers.lock().unwrap() = request.headers().clone();
            async { Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new())) }
        }
    });
    let mut client = layer.layer(service);
    let client = client.ready().await.unwrap();
    let attached = cx.attach();
    let response = client.call(request);
    drop(attached);
    response.await.unwrap();
    std::mem::take(&mut *headers.lock().unwrap())
}

#[tokio::test]
async fn a_stale_trace_header_does_not_go_on_and_the_callers_baggage_does() {
    let recorder = Recorder::new();
    let request = Request::get("http://api.example/")
        .header("traceparent", TRACEPARENT)
        .header("tracestate", "old=1")
        .header("baggage", "old=1")
        .header("x-other", "kept")
        .body(Empty::new())
        .unwrap();
    let headers = sent(client_layer(&recorder), Context::new(), request).await;
    let span = recorder.span("GET").span_context;
    let own = format!("00-{}-{}-01", span.trace_id(), span.span_id());
    assert_eq!(headers.get_all("traceparent").iter().collect::<Vec<_>>(), [own.as_str()]);
    assert!(!headers.contains_key("tracestate"));
    assert_eq!(headers["baggage"], "old=1");
    assert_eq!(headers["x-other"], "kept");

    // The context's baggage takes the place of the caller's.
    let request = Request::get("http://api.example/").header("baggage", "old=1").body(Empty::new()).unwrap();
    let cx = Context::new().with_baggage([KeyValue::new("tenant", "acme")]);
    let headers = sent(client_layer(&recorder), cx, request).await;
    assert_eq!(headers.get_all("baggage").iter().collect::<Vec<_>>(), ["tenant=acme"]);
}

#[tokio::test]
async fn where_the_span_is_not_the_operations_own_the_callers_headers_stay() {
    let without_sdk = || ClientLayer::new().with_propagator(CompositePropagator::default());
    let stopped = Recorder::new();
    stopped.shutdown();
    let running = Recorder::new();
    let ambient = Context::new()
        .with_remote_span_context(remote(TraceFlags::SAMPLED))
        .with_baggage([KeyValue::new("tenant", "acme")]);
    for (layer, cx) in [
        (without_sdk(), Context::new()),
        (without_sdk(), ambient.clone()),
        (client_layer(&stopped), ambient.clone()),
        (client_layer(&running), ambient.with_telemetry_suppressed()),
    ] {
        let request = Request::get("http://api.example/")
            .header("traceparent", TRACEPARENT)
            .header("baggage", "old=1")
            .body(Empty::new())
            .unwrap();
        let headers = sent(layer.clone(), cx.clone(), request).await;
        assert_eq!(headers.get_all("traceparent").iter().collect::<Vec<_>>(), [TRACEPARENT]);
        assert!(!headers.contains_key("tracestate"), "the context's does not belong to this parent");
        assert_eq!(headers.get_all("baggage").iter().collect::<Vec<_>>(), ["old=1"]);

        // One header of a trace is enough to keep the others out; baggage is a matter of its own.
        let request =
            Request::get("http://api.example/").header("tracestate", "old=1").body(Empty::new()).unwrap();
        let headers = sent(layer, cx.clone(), request).await;
        assert_eq!(headers["tracestate"], "old=1");
        assert!(!headers.contains_key("traceparent"));
        assert_eq!(headers.contains_key("baggage"), !cx.baggage().is_empty());
    }
    assert!(running.spans().is_empty());
}

#[tokio::test]
async fn without_an_sdk_the_received_context_goes_on() {
    let recorder = Recorder::new();
    recorder.shutdown();
    let cx = Context::new().with_remote_span_context(remote(TraceFlags::SAMPLED));
    let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
    let headers = sent(client_layer(&recorder), cx, request).await;
    assert_eq!(headers["traceparent"], format!("00-{TRACE}-0000000000000007-01"));
    assert_eq!(headers["tracestate"], "a=1");

    let request = Request::get("/").header("traceparent", TRACEPARENT).header("baggage", "k=v");
    let layer = server_layer(&recorder);
    support::call(&layer, request.body(Empty::new()).unwrap(), |_| async {
        assert_eq!(seen(), (TRACE.into(), String::new(), vec!["k=v".into()]));
        Response::new(Body::empty())
    })
    .await;
    assert!(recorder.spans().is_empty());
}

#[tokio::test]
async fn an_unsampled_parent_is_passed_on_unsampled_and_still_measured() {
    let sampler =
        opentelemetry_sdk::trace::Sampler::ParentBased(Box::new(opentelemetry_sdk::trace::Sampler::AlwaysOn));
    let recorder = Recorder::builder().with_sampler(sampler).build();
    let layer = client_layer(&recorder);
    let onward = Arc::new(Mutex::new(HeaderMap::new()));
    // Flags 02: unsampled and random. The random flag describes the trace id, so it must be propagated.
    let request = Request::get("/").header("traceparent", format!("{}2", &UNSAMPLED[..UNSAMPLED.len() - 1]));
    support::call(&server_layer(&recorder), request.body(Empty::new()).unwrap(), {
        let onward = Arc::clone(&onward);
        move |_| {
            let (layer, onward) = (layer.clone(), Arc::clone(&onward));
            async move {
                let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
                let headers = sent(layer, Context::current(), request).await;
                *onward.lock().unwrap() = headers;
                Response::new(Body::empty())
            }
        }
    })
    .await;
    let onward = onward.lock().unwrap()["traceparent"].to_str().unwrap().to_owned();
    assert!(onward.starts_with(&format!("00-{TRACE}-")) && onward.ends_with("-02"), "{onward}");
    assert!(recorder.spans().is_empty());
    assert_eq!(recorder.metric("http.server.request.duration").count(), 1);
    assert_eq!(recorder.metric("http.client.request.duration").count(), 1);
    recorder.assert_nothing_in_flight();
}

#[tokio::test]
async fn a_context_among_the_extensions_crosses_a_buffer() {
    let recorder = Recorder::new();
    let service = client_layer(&recorder).layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
    }));
    // The buffer calls the service on its own task, which has no current context.
    let buffered = tower::buffer::Buffer::new(service, 1);
    let cx = Context::new().with_remote_span_context(remote(TraceFlags::SAMPLED));
    let request = Request::get("http://api.example/").extension(cx).body(Empty::new()).unwrap();
    buffered.oneshot(request).await.unwrap();
    assert_eq!(recorder.span("GET").span_context.trace_id().to_string(), TRACE);
}
