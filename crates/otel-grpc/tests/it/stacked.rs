//! HTTP around gRPC and gRPC around HTTP: one server span a request, and each protocol's metrics once.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SpanData;
use otel_grpc::{LayerOptions, ServerLayer};
use otel_testing::Recorder;
use tonic::Code;
use tower::{Layer, Service, ServiceExt};

use crate::conformance::encoded;
use crate::echo::{EchoServer, Say, UNARY, fail, say};
use crate::layers::http_server;
use crate::support::{attribute, name, server_layer};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn call(path: &str, kind: &str, message: &Say) -> Request<Body> {
    let request = Request::post(path).header("content-type", kind).header("traceparent", PARENT);
    request.body(Body::from(encoded(message))).unwrap()
}

fn unary(message: &Say) -> Request<Body> {
    call("/test.Echo/Unary", "application/grpc", message)
}

fn echo() -> Router {
    Router::new().route_service("/test.Echo/{*rest}", EchoServer)
}

/// Puts both layers around a router.
fn both(app: Router, recorder: &Recorder, grpc_outside: bool) -> Router {
    both_with(server_layer(recorder), app, recorder, grpc_outside)
}

fn both_with(grpc: ServerLayer, app: Router, recorder: &Recorder, grpc_outside: bool) -> Router {
    let http = http_server(recorder);
    if grpc_outside { app.layer(http).layer(grpc) } else { app.layer(grpc).layer(http) }
}

async fn run(
    app: impl Service<Request<Body>, Response = Response<impl http_body::Body>, Error: std::fmt::Debug>,
    request: Request<Body>,
) {
    let response = app.oneshot(request).await.unwrap();
    assert!(response.into_body().collect().await.is_ok());
}

/// Returns the numbers of requests and of calls in the metrics.
fn counts(recorder: &Recorder) -> (u64, u64) {
    (
        recorder.metric("http.server.request.duration").count(),
        recorder.metric("rpc.server.call.duration").count(),
    )
}

fn has_rpc(span: &SpanData) -> bool {
    span.attributes.iter().any(|kv| kv.key.as_str().starts_with("rpc."))
}

/// Asserts that no attribute is repeated, which the SDK would export twice.
fn assert_distinct(span: &SpanData) {
    let mut keys: Vec<_> = span.attributes.iter().map(|kv| kv.key.as_str()).collect();
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
}

#[tokio::test]
async fn a_call_has_the_same_span_in_both_orders_whatever_its_content_type() {
    for code in [Code::Ok, Code::Internal, Code::NotFound] {
        let mut seen: Vec<Vec<String>> = Vec::new();
        for grpc_outside in [true, false] {
            for kind in ["application/grpc", "x/y", "text/event-stream"] {
                let recorder = Recorder::new();
                let mut grpc = server_layer(&recorder);
                if code != Code::Ok {
                    grpc = grpc.with_known_methods([UNARY]);
                }
                let app = both_with(grpc, echo(), &recorder, grpc_outside);
                let message = if code == Code::Ok { say("hello") } else { fail(code) };
                // Without a list the method is unknown at the first call and known at the second.
                for _ in 0..2 {
                    run(app.clone(), call("/test.Echo/Unary", kind, &message)).await;
                }
                assert_eq!(counts(&recorder), (2, 2), "{kind} {}", recorder.metrics());
                assert_eq!(recorder.spans().len(), 2, "{}", recorder.tree());
                for span in recorder.spans() {
                    assert_eq!((&*span.name, &span.span_kind), (UNARY, &SpanKind::Server));
                    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
                    for (key, value) in [
                        ("rpc.method", UNARY),
                        ("rpc.response.status_code", name(code)),
                        ("http.response.status_code", "200"),
                        ("http.route", "/test.Echo/{*rest}"),
                    ] {
                        assert_eq!(
                            attribute(&span, key).as_deref(),
                            Some(value),
                            "{kind} {}",
                            recorder.tree()
                        );
                    }
                    let error = (code == Code::Internal).then_some("INTERNAL");
                    assert_eq!(attribute(&span, "error.type").as_deref(), error);
                    assert_eq!(matches!(span.status, Status::Error { .. }), error.is_some());
                    assert_distinct(&span);
                    let mut list: Vec<_> =
                        span.attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
                    list.sort();
                    seen.push(list);
                }
                recorder.assert_clean();
            }
        }
        assert!(seen.iter().all(|list| *list == seen[0]), "{seen:#?}");
    }
}

#[tokio::test]
async fn each_layer_alone_records_a_call_whatever_its_content_type() {
    for kind in ["application/grpc", "x/y", "text/event-stream"] {
        let recorder = Recorder::new();
        run(echo().layer(http_server(&recorder)), call("/test.Echo/Unary", kind, &say("x"))).await;
        assert_eq!((recorder.spans().len(), counts(&recorder)), (1, (1, 0)), "{kind}");
        recorder.assert_clean();
        let recorder = Recorder::new();
        run(echo().layer(server_layer(&recorder)), call("/test.Echo/Unary", kind, &say("x"))).await;
        assert_eq!((recorder.spans().len(), counts(&recorder)), (1, (0, 1)), "{kind}");
        assert_eq!(recorder.spans()[0].name, UNARY);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_login_that_pretends_to_be_grpc_is_recorded_as_http_alone() {
    for grpc_outside in [true, false] {
        for path in ["/login", "/api/login"] {
            let recorder = Recorder::new();
            let login = post(|| async { (StatusCode::UNAUTHORIZED, "no") });
            let app = both(Router::new().route(path, login), &recorder, grpc_outside);
            run(app, call(path, "application/grpc", &say("x"))).await;
            assert_eq!((recorder.spans().len(), counts(&recorder)), (1, (1, 0)), "{}", recorder.tree());
            let span = recorder.spans().pop().unwrap();
            assert_eq!(span.name, format!("POST {path}"));
            assert!(!has_rpc(&span), "{}", recorder.tree());
            recorder.assert_clean();
        }
    }
}

#[tokio::test]
async fn requests_of_both_kinds_that_interleave_on_one_thread_are_not_mixed_up() {
    for grpc_outside in [true, false] {
        let recorder = Recorder::new();
        let app = echo().route("/slow/{id}", get(|| async { tokio::task::yield_now().await }));
        let app = both(app, &recorder, grpc_outside);
        let requests = (0..20).map(|number| match number % 2 {
            0 => run(app.clone(), unary(&say("x"))),
            _ => run(app.clone(), Request::get(format!("/slow/{number}")).body(Body::empty()).unwrap()),
        });
        futures_util::future::join_all(requests).await;
        assert_eq!((recorder.spans().len(), counts(&recorder)), (20, (20, 10)));
        for name in [UNARY, "GET /slow/{id}"] {
            assert_eq!(
                recorder.spans().iter().filter(|span| span.name == name).count(),
                10,
                "{}",
                recorder.tree()
            );
        }
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_span_of_the_application_between_the_layers_does_not_separate_them() {
    let recorder = Recorder::new();
    let tracer = recorder.tracer_provider().tracer("application");
    let inner = echo().layer(server_layer(&recorder));
    let middle = tower::service_fn(move |request: Request<Body>| {
        let context = opentelemetry::Context::current_with_span(tracer.start("authenticate"));
        inner.clone().oneshot(request).with_context(context)
    });
    run(http_server(&recorder).layer(middle), unary(&say("x"))).await;
    let servers = recorder.spans().iter().filter(|span| span.span_kind == SpanKind::Server).count();
    assert_eq!((servers, counts(&recorder)), (1, (1, 1)), "{}", recorder.tree());
    assert_eq!(recorder.span(UNARY).span_kind, SpanKind::Server);
}

#[tokio::test]
async fn a_call_that_is_dropped_between_the_layers_ends_as_the_owner_answers() {
    for is_limited in [true, false] {
        let recorder = Recorder::new();
        let inner = echo().layer(server_layer(&recorder).with_known_methods([UNARY]));
        let between = tower::service_fn(move |request: Request<Body>| {
            let mut call = Box::pin(inner.clone().oneshot(request));
            async move {
                if !is_limited {
                    return call.await;
                }
                // Polled once and dropped, as by a time limit that answers.
                assert!(futures_util::poll!(&mut call).is_pending());
                drop(call);
                Ok(Response::builder().status(503).body(Body::empty()).unwrap())
            }
        });
        let mut request = Box::pin(run(http_server(&recorder).layer(between), unary(&say("wait"))));
        assert_eq!(futures_util::poll!(&mut request).is_ready(), is_limited);
        drop(request);
        assert_eq!((recorder.spans().len(), counts(&recorder)), (1, (1, 1)));
        let span = recorder.spans().pop().unwrap();
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("CANCELLED"));
        // CANCELLED is no error of a server's, and says more than that the owner was dropped.
        assert_eq!(attribute(&span, "error.type").as_deref(), is_limited.then_some("503"));
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_panic_under_both_layers_is_one_panic() {
    for grpc_outside in [true, false] {
        let recorder = Recorder::new();
        let app = both(echo(), &recorder, grpc_outside);
        assert!(tokio::spawn(run(app, unary(&say("panic")))).await.is_err());
        assert_eq!(recorder.spans().len(), 1);
        assert_eq!(attribute(&recorder.spans()[0], "error.type").as_deref(), Some("panic"));
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_filter_concerns_its_own_layer() {
    let recorder = Recorder::new();
    run(
        echo().layer(server_layer(&recorder)).layer(http_server(&recorder).with_filter(|_| false)),
        unary(&say("x")),
    )
    .await;
    assert_eq!((recorder.spans().len(), counts(&recorder)), (1, (0, 1)));
    let recorder = Recorder::new();
    run(
        echo().layer(server_layer(&recorder).with_filter(|_| false)).layer(http_server(&recorder)),
        unary(&say("x")),
    )
    .await;
    assert_eq!((recorder.spans().len(), counts(&recorder)), (1, (1, 0)));
    assert!(!has_rpc(&recorder.spans()[0]));
}

#[tokio::test]
async fn a_layer_behind_a_buffer_joins_by_the_option_of_the_outer_one() {
    for extension in [true, false] {
        let recorder = Recorder::new();
        let inner =
            tower::buffer::Buffer::new(server_layer(&recorder).layer(echo().into_service::<Body>()), 8);
        let app = http_server(&recorder).with_request_extension(extension).layer(inner);
        run(app, unary(&say("x"))).await;
        recorder.wait_until_finished().await;
        let spans = if extension { 1 } else { 2 };
        assert_eq!((recorder.spans().len(), counts(&recorder)), (spans, (1, 1)), "{}", recorder.tree());
        recorder.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_on_two_threads_are_counted_exactly() {
    let recorder = Recorder::new();
    let app = both(echo(), &recorder, false);
    let tasks = (0..400).map(|number| {
        let app = app.clone();
        tokio::spawn(async move {
            let limit = Duration::from_millis(20);
            match number % 3 {
                0 => run(app, unary(&say("x"))).await,
                1 => run(app, call("/test.Echo/Unary", "x/y", &fail(Code::Internal))).await,
                _ => drop(tokio::time::timeout(limit, run(app, unary(&say("wait")))).await),
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let (requests, calls) = counts(&recorder);
    assert_eq!((recorder.spans().len(), requests), (400, 400));
    // A call that is dropped before any response has shown the method is none.
    assert!((267..=400).contains(&calls), "{calls}");
    recorder.assert_clean();
}
