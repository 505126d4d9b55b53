//! One server span a request, whatever layers are stacked.

use std::convert::Infallible;

use axum::body::Body;
#[cfg(feature = "axum")]
use axum::{Router, routing::get};
use http::{Request, Response};
use http_body_util::BodyExt;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{FutureExt, SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SpanData;
use otel_http::{LateRoute, LayerOptions, SeparateRequest, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;
#[cfg(feature = "axum")]
use tower::ServiceBuilder;
use tower::{Layer, Service, ServiceExt};

use crate::support::{TRACEPARENT, server_layer};

fn to(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn from_caller(path: &str) -> Request<Body> {
    Request::get(path).header("traceparent", TRACEPARENT).body(Body::empty()).unwrap()
}

async fn run<S, B>(service: S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let response = service.oneshot(request).await.unwrap();
    let _ = response.into_body().collect().await.unwrap();
}

fn durations(recorder: &Recorder) -> u64 {
    recorder.metric("http.server.request.duration").count()
}

fn values<'a>(span: &'a SpanData, key: &'a str) -> Vec<String> {
    span.attributes.iter().filter(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string()).collect()
}

async fn empty(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn layers_on_nested_routers_record_once_under_the_route() {
    let recorder = Recorder::new();
    let users = Router::new().route("/{id}", get(|| async {})).layer(server_layer(&recorder));
    let app = Router::new().nest("/users", users).layer(server_layer(&recorder));
    run(app, to("/users/7")).await;
    assert_eq!((recorder.spans().len(), durations(&recorder)), (1, 1), "{}", recorder.tree());
    recorder.assert_clean();
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn an_inner_layer_gives_the_route_that_outer_ones_do_not_know() {
    let recorder = Recorder::new();
    let users = Router::new().route("/users/{id}", get(|| async {})).layer(server_layer(&recorder));
    let layers = ServiceBuilder::new().layer(server_layer(&recorder)).layer(server_layer(&recorder));
    run(layers.service(users), to("/users/7")).await;
    let spans = recorder.spans();
    assert_eq!((spans.len(), durations(&recorder)), (1, 1));
    assert_eq!(spans[0].name, "GET /users/{id}");
    assert_eq!(values(&spans[0], "http.route"), ["/users/{id}"]);
    assert_eq!(recorder.metric("http.server.request.duration").with("http.route", "/users/{id}").count(), 1);
    for key in ["url.path", "http.request.method", "http.response.status_code"] {
        assert_eq!(values(&spans[0], key).len(), 1, "{key} is not repeated");
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn a_late_route_of_an_inner_layer_names_the_span_and_the_metrics() {
    let recorder = Recorder::new();
    let inner = server_layer(&recorder).with_late_route(true);
    let inner = inner.layer(tower::service_fn(|request: Request<Body>| async move {
        request.extensions().get::<LateRoute>().unwrap().set("/late/{id}");
        empty(request).await
    }));
    run(server_layer(&recorder).layer(inner), to("/late/7")).await;
    let spans = recorder.spans();
    assert_eq!((spans.len(), &*spans[0].name), (1, "GET /late/{id}"));
    assert_eq!(values(&spans[0], "http.route"), ["/late/{id}"]);
    assert_eq!(recorder.metric("http.server.request.duration").with("http.route", "/late/{id}").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn hooks_of_each_layer_write_into_the_one_span() {
    let recorder = Recorder::new();
    let with = |name: &'static str| {
        server_layer(&recorder)
            .with_request_attributes(move |_, list| list.push(opentelemetry::KeyValue::new(name, "request")))
            .with_response_attributes(move |_, list| {
                list.push(opentelemetry::KeyValue::new(format!("{name}.end"), "response"));
            })
            .with_span_name(move |_, _| Some(name.into()))
    };
    run(with("outer").layer(with("inner").layer(tower::service_fn(empty))), to("/")).await;
    let spans = recorder.spans();
    assert_eq!((spans.len(), &*spans[0].name), (1, "outer"));
    for key in ["outer", "inner", "outer.end", "inner.end"] {
        assert_eq!(values(&spans[0], key).len(), 1, "{key}");
    }
}

#[tokio::test]
async fn a_span_of_the_user_between_two_layers_does_not_separate_them() {
    let recorder = Recorder::new();
    let tracer = recorder.tracer_provider().tracer("user");
    let inner = server_layer(&recorder).layer(tower::service_fn(empty));
    let between = tower::service_fn(move |request: Request<Body>| {
        let context = Context::current_with_span(tracer.start("auth"));
        inner.clone().oneshot(request).with_context(context)
    });
    run(server_layer(&recorder).layer(between), from_caller("/")).await;
    let servers = recorder.spans().iter().filter(|span| span.span_kind == SpanKind::Server).count();
    assert_eq!((servers, durations(&recorder)), (1, 1));
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_request_that_a_handler_makes_in_the_process_has_its_own_span() {
    for (case, parent, header) in [
        ("without the caller's header", Some(TRACEPARENT), None),
        ("without a caller, on another route", None, None),
        ("with the caller's header, on another route", Some(TRACEPARENT), Some(TRACEPARENT)),
    ] {
        let recorder = Recorder::new();
        let api = Router::new().route("/api/{id}", get(|| async { "x" })).layer(server_layer(&recorder));
        let page = get(move || async move {
            run(api, header.map_or_else(|| to("/api/1"), |_| from_caller("/api/1"))).await
        });
        let app = Router::new().route("/page", page).layer(server_layer(&recorder));
        run(app, parent.map_or_else(|| to("/page"), |_| from_caller("/page"))).await;
        let mut names: Vec<_> = recorder.spans().iter().map(|span| span.name.to_string()).collect();
        names.sort();
        assert_eq!(
            (names, durations(&recorder)),
            (vec!["GET /api/{id}".into(), "GET /page".into()], 2),
            "{case}"
        );
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_marked_request_has_its_own_span_where_nothing_else_distinguishes_it() {
    for (is_marked, spans) in [(false, 2), (true, 3)] {
        let recorder = Recorder::new();
        let inner = server_layer(&recorder).layer(tower::service_fn(empty));
        let batch = tower::service_fn(move |_: Request<Body>| {
            let inner = inner.clone();
            async move {
                for _ in 0..2 {
                    let mut part = to("/api/1");
                    if is_marked {
                        part.extensions_mut().insert(SeparateRequest);
                    }
                    run(inner.clone(), part).await;
                }
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        run(server_layer(&recorder).layer(batch), to("/batch")).await;
        assert_eq!((recorder.spans().len(), durations(&recorder)), (spans, spans as u64), "{is_marked}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn requests_that_interleave_on_one_thread_are_not_mixed_up() {
    let recorder = Recorder::new();
    let yielding = tower::service_fn(|request: Request<Body>| async {
        tokio::task::yield_now().await;
        empty(request).await
    });
    let service = server_layer(&recorder).layer(server_layer(&recorder).layer(yielding));
    futures_util::future::join_all((0..20).map(|_| run(service.clone(), to("/slow")))).await;
    assert_eq!((recorder.spans().len(), durations(&recorder)), (20, 20));
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_on_two_threads_are_counted_exactly() {
    let recorder = Recorder::new();
    let handler = tower::service_fn(|request: Request<Body>| async move {
        match request.uri().path() {
            "/wait" => std::future::pending().await,
            "/yield" => tokio::task::yield_now().await,
            _ => {}
        }
        empty(request).await
    });
    let service = server_layer(&recorder).layer(server_layer(&recorder).layer(handler));
    let tasks: Vec<_> = (0..600)
        .map(|i| {
            let service = service.clone();
            tokio::spawn(async move {
                let path = ["/wait", "/yield", "/"][i % 3];
                let mut call = Box::pin(run(service, from_caller(path)));
                // Every third request is dropped after its first poll.
                let first = futures_util::poll!(&mut call);
                if first.is_pending() && path != "/wait" {
                    call.await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let metric = recorder.metric("http.server.request.duration");
    assert_eq!((recorder.spans().len(), metric.count()), (600, 600));
    assert_eq!(metric.with("error.type", "cancelled").count(), 200);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_request_that_is_dropped_between_the_layers_ends_as_the_owner_answers() {
    let recorder = Recorder::new();
    let inner = server_layer(&recorder).with_late_route(true);
    let inner = inner.layer(tower::service_fn(|request: Request<Body>| {
        request.extensions().get::<LateRoute>().unwrap().set("/slow");
        std::future::pending::<Result<Response<Body>, Infallible>>()
    }));
    let time_limit = tower::service_fn(move |request: Request<Body>| {
        let mut call = Box::pin(inner.clone().oneshot(request));
        // This future keeps the inner one after it is ready.
        std::future::poll_fn(move |cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            let response = Response::builder().status(503).body(Body::empty()).unwrap();
            std::task::Poll::Ready(Ok::<_, Infallible>(response))
        })
    });
    run(server_layer(&recorder).layer(time_limit), to("/slow")).await;
    let spans = recorder.spans();
    assert_eq!((spans.len(), values(&spans[0], "error.type")), (1, vec!["503".to_owned()]));
    assert_eq!(values(&spans[0], "http.route"), ["/slow"], "the inner layer reported before the owner's end");
    assert_eq!(recorder.metric("http.server.request.duration").with("error.type", "503").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_panic_under_two_layers_is_one_panic() {
    let recorder = Recorder::new();
    let handler = tower::service_fn(|_: Request<Body>| async {
        panic!("handler") as Result<Response<Body>, Infallible>
    });
    let service = server_layer(&recorder).layer(server_layer(&recorder).layer(handler));
    assert!(tokio::spawn(run(service, to("/"))).await.is_err());
    let spans = recorder.spans();
    assert_eq!((spans.len(), values(&spans[0], "error.type")), (1, vec!["panic".to_owned()]));
    assert_eq!(durations(&recorder), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_future_that_is_spawned_after_its_call_belongs_to_the_request() {
    let recorder = Recorder::new();
    let inner = server_layer(&recorder).layer(tower::service_fn(empty));
    let between = tower::service_fn(move |request: Request<Body>| {
        let call = inner.clone().call(request);
        async move { tokio::spawn(call).await.unwrap() }
    });
    run(server_layer(&recorder).layer(between), to("/")).await;
    assert_eq!((recorder.spans().len(), durations(&recorder)), (1, 1));
    recorder.assert_clean();
}

#[tokio::test]
async fn the_option_joins_a_layer_behind_a_buffer() {
    for (extension, spans) in [(false, 2), (true, 1)] {
        let recorder = Recorder::new();
        let handler = tower::service_fn(|request: Request<Body>| async {
            let own = Context::map_current(|cx| cx.span().span_context().span_id().to_string());
            let mut response = empty(request).await.unwrap();
            response.headers_mut().insert("x-span", own.parse().unwrap());
            Ok::<_, Infallible>(response)
        });
        let buffer = tower::buffer::Buffer::new(server_layer(&recorder).layer(handler), 8);
        let layer = server_layer(&recorder).with_request_extension(extension);
        let response = layer.layer(buffer).oneshot(from_caller("/")).await.unwrap();
        let seen = response.headers()["x-span"].to_str().unwrap().to_owned();
        response.into_body().collect().await.unwrap();
        assert_eq!((recorder.spans().len(), durations(&recorder)), (spans, spans as u64), "{extension}");
        assert!(recorder.spans().iter().any(|span| span.span_context.span_id().to_string() == seen));
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_public_layer_inside_ends_the_callers_baggage_and_keeps_the_owners_span() {
    for outer in [true, false] {
        let recorder = Recorder::new();
        let handler = tower::service_fn(|request: Request<Body>| async {
            let (span, baggage) =
                Context::map_current(|cx| (cx.span().span_context().span_id(), cx.baggage().len()));
            let mut response = empty(request).await.unwrap();
            response.headers_mut().insert("x-current", format!("{span} {baggage}").parse().unwrap());
            Ok::<_, Infallible>(response)
        });
        let inner = server_layer(&recorder).with_public_endpoint(!outer).layer(handler);
        let mut request = from_caller("/");
        request.headers_mut().insert("baggage", "tenant=acme".parse().unwrap());
        let response =
            server_layer(&recorder).with_public_endpoint(outer).layer(inner).oneshot(request).await.unwrap();
        let seen = response.headers()["x-current"].to_str().unwrap().to_owned();
        response.into_body().collect().await.unwrap();
        let spans = recorder.spans();
        assert_eq!((spans.len(), spans[0].links.len()), (1, usize::from(outer)), "the owner decides");
        assert_eq!(seen, format!("{} 0", spans[0].span_context.span_id()));
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn without_a_tracer_outside_the_metrics_are_recorded_once_and_the_inner_layer_owns_the_span() {
    for inner_traces in [false, true] {
        let recorder = Recorder::new();
        let silent = || {
            ServerLayer::new()
                .with_meter_provider(recorder.meter_provider())
                .with_propagator(CompositePropagator::default())
        };
        let inner = if inner_traces { server_layer(&recorder) } else { silent() };
        run(silent().layer(inner.layer(tower::service_fn(empty))), from_caller("/users/7")).await;
        assert_eq!((recorder.spans().len(), durations(&recorder)), (usize::from(inner_traces), 1));
        recorder.assert_clean();
    }
}
