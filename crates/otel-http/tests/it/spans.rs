//! Server and client spans and their attributes, compared as rendered trees.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use otel_http::{ForwardingHeaders, LateRoute, LayerOptions, PeerAddr, ResendCounter, UrlTemplate};
use otel_testing::Recorder;
use tower::{Layer, ServiceExt};

use crate::support::{call, client_layer, server_layer};

fn answer(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::from("ok")).unwrap()
}

async fn drain<B: http_body::Body<Data = Bytes>>(response: Response<B>) {
    let _ = response.into_body().collect().await;
}

#[tokio::test]
async fn a_servers_span_in_full() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder)
        .with_request_headers(["x-tenant", "x-missing"])
        .with_response_headers(["x-cache"])
        .with_request_attributes(|head, list| {
            list.push(KeyValue::new("app.path.length", head.uri.path().len() as i64))
        })
        .with_response_attributes(|head, list| list.push(KeyValue::new("app.ok", head.status.is_success())));
    let request = Request::get("http://user:secret@shop.example:8080/a?sig=s&b=1")
        .header("x-tenant", "acme")
        .header("authorization", "Bearer secret")
        .header("user-agent", "curl/8")
        .extension(PeerAddr("192.0.2.9:5000".parse().unwrap()))
        .body(Empty::new())
        .unwrap();
    let response = call(&layer, request, |_| async {
        Response::builder()
            .header("x-cache", "hit")
            .header("set-cookie", "secret")
            .body(Body::from("x"))
            .unwrap()
    });
    drain(response.await).await;
    assert_eq!(
        recorder.tree().trim(),
        "SERVER GET
    app.ok: true
    app.path.length: 2
    client.address: 192.0.2.9
    client.port: 5000
    http.request.header.x-tenant: [acme]
    http.request.method: GET
    http.response.header.x-cache: [hit]
    http.response.status_code: 200
    network.peer.address: 192.0.2.9
    network.peer.port: 5000
    network.protocol.version: \"1.1\"
    server.address: shop.example
    server.port: 8080
    url.path: /a
    url.query: sig=REDACTED&b=1
    url.scheme: http
    user_agent.original: curl/8"
    );
    recorder.assert_clean();
}

#[tokio::test]
async fn a_clients_span_in_full() {
    let recorder = Recorder::new();
    let client = client_layer(&recorder).layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, std::io::Error>(Response::builder().status(404).body(Empty::<Bytes>::new()).unwrap())
    }));
    let request = Request::get("https://user:secret@api.example/users/7?sig=s")
        .extension(UrlTemplate("/users/{id}".into()))
        .header("authorization", "Bearer secret")
        .body(Empty::new())
        .unwrap();
    client.oneshot(request).await.unwrap();
    assert_eq!(
        recorder.tree().trim(),
        "CLIENT GET /users/{id}  error
    error.type: \"404\"
    http.request.method: GET
    http.response.status_code: 404
    network.protocol.version: \"1.1\"
    server.address: api.example
    server.port: 443
    url.full: https://REDACTED:REDACTED@api.example/users/7?sig=REDACTED
    url.template: /users/{id}"
    );
    recorder.assert_clean();
}

#[tokio::test]
async fn only_a_5xx_is_a_servers_error() {
    for (status, error) in [(204, None), (302, None), (404, None), (500, Some("500")), (503, Some("503"))] {
        let recorder = Recorder::new();
        let request = Request::get("/").body(Empty::new()).unwrap();
        drain(call(&server_layer(&recorder), request, move |_| async move { answer(status) }).await).await;
        let span = recorder.span("GET");
        let recorded = span.attributes.iter().find(|kv| kv.key.as_str() == "error.type");
        assert_eq!(recorded.map(|kv| kv.value.to_string()).as_deref(), error, "{status}");
        let wanted = match error {
            Some(_) => opentelemetry::trace::Status::error(""),
            None => opentelemetry::trace::Status::Unset,
        };
        assert_eq!(span.status, wanted, "{status}: the code says it all, so there is no description");
    }
}

#[tokio::test]
async fn an_error_in_place_of_an_answer_is_classified_and_handed_on() {
    let recorder = Recorder::new();
    let service = server_layer(&recorder).layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Err::<Response<Empty<Bytes>>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    }));
    let error = service.oneshot(Request::get("/").body(Empty::new()).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let tree = recorder.tree();
    assert!(tree.contains("error.type: connection_reset"), "{tree}");
    recorder.assert_clean();
}

#[tokio::test]
async fn an_unknown_method_is_other_and_names_no_span() {
    let recorder = Recorder::new();
    let request = Request::builder().method("BREW").uri("/").body(Empty::new()).unwrap();
    drain(call(&server_layer(&recorder), request, |_| async { answer(200) }).await).await;
    let tree = recorder.tree();
    assert!(tree.contains("SERVER HTTP\n") && tree.contains("http.request.method: _OTHER"), "{tree}");
    assert!(tree.contains("http.request.method_original: BREW"), "{tree}");

    let recorder = Recorder::new();
    let request = Request::builder().method("BREW").uri("/").body(Empty::new()).unwrap();
    let layer = server_layer(&recorder).with_known_methods(["BREW"]);
    drain(call(&layer, request, |_| async { answer(200) }).await).await;
    assert_eq!(recorder.span("BREW").name, "BREW");
}

#[tokio::test]
async fn a_route_may_come_late() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_late_route(true);
    for _ in 0..2 {
        let request = Request::get("/users/7").body(Empty::new()).unwrap();
        let response = call(&layer, request, |request| async move {
            request.extensions().get::<LateRoute>().unwrap().set("/users/{id}");
            request.extensions().get::<LateRoute>().unwrap().set("/ignored");
            answer(200)
        });
        drain(response.await).await;
    }
    assert!(recorder.spans().iter().all(|span| span.name == "GET /users/{id}"));
    assert_eq!(recorder.metric("http.server.request.duration").with("http.route", "/users/{id}").count(), 2);
    assert!(recorder.tree().contains("http.route: /users/{id}"));
    recorder.assert_clean();
}

/// A rule by content type would let a caller choose that its requests are not recorded.
#[tokio::test]
async fn no_content_type_hides_a_request() {
    for kind in
        ["application/grpc", "application/grpc-lol", "Application/gRPC+proto", "text/event-stream", "x/y"]
    {
        let recorder = Recorder::new();
        let request =
            || Request::post("/chat.Chat/Join").header("content-type", kind).body(Empty::new()).unwrap();
        drain(call(&server_layer(&recorder), request(), |_| async { answer(200) }).await).await;
        let client =
            client_layer(&recorder).layer(tower::service_fn(|request: Request<Empty<Bytes>>| async move {
                assert!(request.headers().contains_key("traceparent"));
                Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
            }));
        client.oneshot(request()).await.unwrap();
        let kinds: Vec<_> = recorder.spans().iter().map(|span| span.span_kind.clone()).collect();
        assert_eq!(kinds, [SpanKind::Server, SpanKind::Client], "{kind}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_hook_names_the_span() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder)
        .with_late_route(true)
        .with_span_name(|head, _| (head.method == Method::POST).then(|| "rpc".into()));
    for method in ["POST", "GET"] {
        let request = Request::builder().method(method).uri("/x").body(Empty::new()).unwrap();
        drain(
            call(&layer, request, |request| async move {
                request.extensions().get::<LateRoute>().unwrap().set("/x");
                answer(200)
            })
            .await,
        )
        .await;
    }
    let names: Vec<_> = recorder.spans().into_iter().map(|span| span.name.into_owned()).collect();
    assert_eq!(names, ["rpc", "GET /x"], "a late route does not rename what a hook has named");
}

#[tokio::test]
async fn each_attempt_of_a_retry_is_a_span_with_its_number() {
    #[derive(Clone)]
    struct Twice(u32);
    impl<B: Clone, R> tower::retry::Policy<Request<B>, Response<R>, std::io::Error> for Twice {
        type Future = std::future::Ready<()>;
        fn retry(
            &mut self,
            _: &mut Request<B>,
            result: &mut Result<Response<R>, std::io::Error>,
        ) -> Option<Self::Future> {
            self.0 += 1;
            let failed = result.as_ref().is_ok_and(|response| response.status() == StatusCode::BAD_GATEWAY);
            (failed && self.0 < 3).then(|| std::future::ready(()))
        }
        fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
            Some(request.clone())
        }
    }
    let recorder = Recorder::new();
    let client = client_layer(&recorder).layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, std::io::Error>(Response::builder().status(502).body(Empty::<Bytes>::new()).unwrap())
    }));
    let client = tower::retry::Retry::new(Twice(0), client);
    let request =
        Request::get("http://api.example/").extension(ResendCounter::default()).body(Empty::new()).unwrap();
    client.oneshot(request).await.unwrap();
    let counts: Vec<_> = recorder
        .spans()
        .iter()
        .map(|span| {
            span.attributes
                .iter()
                .find(|kv| kv.key.as_str() == "http.request.resend_count")
                .map(|kv| kv.value.to_string())
        })
        .collect();
    assert_eq!(counts, [None, Some("1".into()), Some("2".into())]);
    recorder.assert_clean();
}

#[tokio::test]
async fn forwarding_headers_count_only_from_trusted_proxies() {
    for (peer, address, scheme) in
        [("10.0.0.1:1", "192.0.2.7", "https"), ("198.51.100.1:1", "198.51.100.1", "http")]
    {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder)
            .with_trusted_proxies(ForwardingHeaders::Forwarded, ["10.0.0.0/8".parse().unwrap()]);
        let request = Request::get("/")
            .header("host", "internal")
            .header("forwarded", "for=192.0.2.7;proto=https;host=shop.example")
            .extension(PeerAddr(peer.parse().unwrap()));
        drain(call(&layer, request.body(Empty::new()).unwrap(), |_| async { answer(200) }).await).await;
        let tree = recorder.tree();
        assert!(tree.contains(&format!("client.address: {address}\n")), "{tree}");
        assert!(tree.contains(&format!("url.scheme: {scheme}")), "{tree}");
        assert_eq!(tree.contains("server.address: shop.example"), scheme == "https", "{tree}");
    }
}

#[tokio::test]
async fn samplers_see_attributes_and_may_overrule_an_unsampled_parent() {
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};
    /// Samples spans that have a `url.path` at their start, regardless of the parent.
    #[derive(Clone, Debug)]
    struct ByPath;
    impl ShouldSample for ByPath {
        fn should_sample(
            &self,
            _: Option<&opentelemetry::Context>,
            _: opentelemetry::TraceId,
            _: &str,
            _: &opentelemetry::trace::SpanKind,
            attributes: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> SamplingResult {
            let take = attributes.iter().any(|kv| kv.key.as_str() == "url.path");
            SamplingResult {
                decision: if take { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
                attributes: Vec::new(),
                trace_state: Default::default(),
            }
        }
    }
    let run = async |recorder: Recorder, input, parent: Option<&str>| {
        let layer = server_layer(&recorder).with_sampler_attributes(input);
        let mut request = Request::get("/").body(Empty::new()).unwrap();
        if let Some(parent) = parent {
            request.headers_mut().insert("traceparent", parent.parse().unwrap());
        }
        drain(call(&layer, request, |_| async { answer(200) }).await).await;
        recorder.spans()
    };
    use otel_http::SamplerAttributes::{Always, IfParentAllows};
    let unsampled = Some(crate::support::UNSAMPLED);
    let by_path = || Recorder::builder().with_sampler(ByPath).build();
    assert_eq!(run(by_path(), IfParentAllows, None).await.len(), 1);
    assert_eq!(
        run(by_path(), IfParentAllows, unsampled).await.len(),
        0,
        "documented: they are not built then"
    );
    assert_eq!(run(by_path(), Always, unsampled).await.len(), 1);
    let spans =
        run(Recorder::builder().with_sampler(Sampler::AlwaysOn).build(), IfParentAllows, unsampled).await;
    assert!(
        spans[0].attributes.iter().any(|kv| kv.key.as_str() == "url.path"),
        "a span that records has them all"
    );
}
