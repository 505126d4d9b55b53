//! Filtered requests and calls: not recorded, and part of the trace all the same.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use otel_http::LayerOptions;
use otel_testing::Recorder;
use tower::{Layer, ServiceExt};

use crate::support::{TRACEPARENT, call, client_layer, server_layer};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The trace and the number of baggage members of the current context.
fn current() -> String {
    Context::map_current(|cx| format!("{} {}", cx.span().span_context().trace_id(), cx.baggage().len()))
}

fn request() -> Request<Empty<Bytes>> {
    let request = Request::get("/health").header("traceparent", TRACEPARENT).header("baggage", "tenant=acme");
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn a_filtered_request_continues_its_callers_trace_in_handler_and_body() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_filter(|head| head.uri.path() != "/health");
    let response = call(&layer, request(), |_| async {
        let body = futures_util::stream::once(async { Ok::<_, Infallible>(Bytes::from(current())) });
        Response::builder().header("x-current", current()).body(Body::from_stream(body)).unwrap()
    })
    .await;
    assert_eq!(response.headers()["x-current"], format!("{TRACE} 1"));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), format!("{TRACE} 1"));
    assert_eq!((recorder.spans().len(), recorder.metrics().as_str()), (0, ""));
}

#[tokio::test]
async fn a_filtered_request_of_an_untrusted_caller_continues_nothing() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_filter(|_| false).with_public_endpoint(true);
    let ambient = Context::new().with_baggage([KeyValue::new("ambient", "1")]);
    let answer =
        |_| async { Response::builder().header("x-current", current()).body(Body::empty()).unwrap() };
    let response = call(&layer, request(), answer).with_context(ambient).await;
    assert_eq!(response.headers()["x-current"], format!("{:032} 0", 0));
}

#[tokio::test]
async fn a_filtered_call_sends_the_current_context() {
    let recorder = Recorder::new();
    let client = client_layer(&recorder).with_filter(|_| false);
    let client = client.layer(tower::service_fn(|request: Request<Empty<Bytes>>| async move {
        let sent = request.headers().get("traceparent").cloned();
        Ok::<_, Infallible>(sent.map(|sent| sent.to_str().unwrap().to_owned()))
            .map(|sent| {
                Response::builder().header("x-sent", sent.unwrap_or_default()).body(Empty::<Bytes>::new())
            })
            .map(Result::unwrap)
    }));
    let send = async |client: &_, request| {
        let client: &otel_http::ClientService<_> = client;
        let response = client.clone().oneshot(request).await.unwrap();
        response.headers()["x-sent"].to_str().unwrap().to_owned()
    };
    let own = "00-00000000000000000000000000000007-0000000000000008-01";
    let set = || Request::get("http://api.example/").header("traceparent", own).body(Empty::new()).unwrap();
    assert_eq!(send(&client, set()).await, own, "without a current span the caller's header stays");

    let root = Context::new().with_span(recorder.tracer_provider().tracer("test").start("root"));
    let sent = send(&client, set()).with_context(root.clone()).await;
    let span = root.span().span_context().clone();
    assert_eq!(sent, format!("00-{}-{}-01", span.trace_id(), span.span_id()));
    root.span().end();
    assert_eq!((recorder.spans().len(), recorder.metrics().as_str()), (1, ""));
}

#[tokio::test]
async fn a_filter_concerns_its_own_layer() {
    for outer_records in [true, false] {
        let recorder = Recorder::new();
        let inner = server_layer(&recorder).with_filter(move |_| !outer_records);
        let inner = inner.layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
            Ok::<_, Infallible>(
                Response::builder().header("x-current", current()).body(Body::empty()).unwrap(),
            )
        }));
        let outer = server_layer(&recorder).with_filter(move |_| outer_records).layer(inner);
        let response = outer.oneshot(request()).await.unwrap();
        assert_eq!(response.headers()["x-current"], format!("{TRACE} 1"));
        response.into_body().collect().await.unwrap();
        assert_eq!(recorder.spans().len(), 1, "outer {outer_records}");
        assert_eq!(recorder.metric("http.server.request.duration").count(), 1);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_filtered_layer_inside_keeps_the_span_of_the_layer_around_it() {
    let recorder = Recorder::new();
    let inner = server_layer(&recorder).with_filter(|_| false);
    let inner = inner.layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
        let span = Context::map_current(|cx| cx.span().span_context().span_id().to_string());
        Ok::<_, Infallible>(Response::builder().header("x-span", span).body(Body::empty()).unwrap())
    }));
    let response = server_layer(&recorder).layer(inner).oneshot(request()).await.unwrap();
    let span = response.headers()["x-span"].to_str().unwrap().to_owned();
    response.into_body().collect().await.unwrap();
    assert_eq!(span, recorder.spans()[0].span_context.span_id().to_string());
}

#[tokio::test]
async fn a_filtered_layer_inside_sends_the_span_of_the_call_around_it() {
    let recorder = Recorder::new();
    let inner = client_layer(&recorder).with_filter(|_| false);
    let inner = inner.layer(tower::service_fn(|request: Request<Empty<Bytes>>| async move {
        let sent = request.headers()["traceparent"].clone();
        Ok::<_, Infallible>(Response::builder().header("x-sent", sent).body(Empty::<Bytes>::new()).unwrap())
    }));
    let mut call = Request::get("http://api.example/").body(Empty::new()).unwrap();
    // The parent of the call around: the inner layer sees it, too.
    call.extensions_mut()
        .insert(Context::new().with_span(recorder.tracer_provider().tracer("test").start("root")));
    let response = client_layer(&recorder).layer(inner).oneshot(call).await.unwrap();
    let spans = recorder.spans();
    let own = spans.iter().find(|span| span.name == "GET").unwrap().span_context.span_id();
    assert_eq!(&response.headers()["x-sent"].to_str().unwrap()[36..52], own.to_string());
}

#[tokio::test]
async fn a_suppressed_scope_records_nothing_and_keeps_the_callers_headers() {
    let recorder = Recorder::new();
    let client =
        client_layer(&recorder).layer(tower::service_fn(|request: Request<Empty<Bytes>>| async move {
            let sent = request.headers()["traceparent"].clone();
            Ok::<_, Infallible>(
                Response::builder().header("x-sent", sent).body(Empty::<Bytes>::new()).unwrap(),
            )
        }));
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let call_out = Request::post("http://collector:4318/v1/metrics").header("traceparent", TRACEPARENT);
    let sent = client.oneshot(call_out.body(Empty::new()).unwrap()).now_or_never().unwrap().unwrap();
    assert_eq!(sent.headers()["x-sent"], TRACEPARENT);
    let answer = |_| async {
        assert!(Context::is_current_telemetry_suppressed(), "in the handler too");
        Response::new(Body::empty())
    };
    call(&server_layer(&recorder), request(), answer).now_or_never().unwrap();
    assert_eq!((recorder.spans().len(), recorder.metrics().as_str()), (0, ""));
}
