//! Server and client metrics, rendered, and their cardinality limits.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use otel_testing::Recorder;
use tower::{Layer, ServiceExt};

use crate::support::{call, client_layer, server_layer};

async fn drain<B: http_body::Body<Data = Bytes>>(response: Response<B>) {
    let _ = response.into_body().collect().await;
}

#[tokio::test]
async fn a_servers_metrics_in_full() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_body_sizes(true);
    for status in [200, 200, 500] {
        let service = layer.layer(tower::service_fn(move |_: Request<Full<Bytes>>| async move {
            let response = Response::builder().status(status).body(Body::from("12345"));
            Ok::<_, std::io::Error>(response.unwrap())
        }));
        let request = Request::post("/").body(Full::new(Bytes::from("123"))).unwrap();
        drain(service.oneshot(request).await.unwrap()).await;
    }
    let common = "http.request.method=POST";
    let rest = "network.protocol.version=\"1.1\", url.scheme=http";
    let ok = format!("{common}, http.response.status_code=200, {rest}");
    let failed = format!("error.type=\"500\", {common}, http.response.status_code=500, {rest}");
    let rendered = recorder.metrics();
    for line in [
        "http.server.active_requests".to_owned(),
        format!("{{{common}, url.scheme=http}}"),
        format!("{{{ok}}}"),
        format!("{{{failed}}}"),
    ] {
        assert!(rendered.contains(&line), "{line} in\n{rendered}");
    }
    assert_eq!(recorder.metric("http.server.request.duration").unit(), "s");
    assert_eq!(recorder.metric("http.server.request.duration").points()[0].bounds().len(), 14);
    let sizes = recorder.metric("http.server.response.body.size");
    assert_eq!((sizes.unit(), sizes.count(), sizes.sum()), ("By", 3, 15.0));
    assert_eq!(recorder.metric("http.server.request.body.size").sum(), 9.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn sizes_are_an_option() {
    let recorder = Recorder::new();
    let request = Request::post("/").header("content-length", "3").body(Empty::new()).unwrap();
    drain(call(&server_layer(&recorder), request, |_| async { Response::new(Body::from("1")) }).await).await;
    assert!(!recorder.metrics().contains("body.size"), "{}", recorder.metrics());
}

#[tokio::test]
async fn requests_are_in_flight_until_their_end() {
    let recorder = Recorder::new();
    let active = |recorder: &Recorder| recorder.metric("http.server.active_requests").sum();
    let response = call(&server_layer(&recorder), Request::get("/").body(Empty::new()).unwrap(), {
        let recorder = recorder.clone();
        move |_| {
            let now = active(&recorder);
            async move {
                assert_eq!(now, 1.0);
                Response::new(Body::from("x"))
            }
        }
    })
    .await;
    assert_eq!(active(&recorder), 1.0, "the body is still to be sent");
    drain(response).await;
    assert_eq!(active(&recorder), 0.0);
}

#[tokio::test]
async fn what_strangers_choose_makes_no_series() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder).with_body_sizes(true);
    for i in 0..200 {
        let request = Request::builder()
            .method(format!("M{i}").as_str())
            .uri(format!("http://host{i}.example/path{i}?q={i}"))
            .header("user-agent", format!("agent {i}"))
            .body(Empty::new())
            .unwrap();
        drain(call(&layer, request, |_| async { Response::new(Body::empty()) }).await).await;
    }
    for metric in
        ["http.server.request.duration", "http.server.active_requests", "http.server.response.body.size"]
    {
        assert_eq!(recorder.metric(metric).points().len(), 1, "{}", recorder.metrics());
    }
    assert!(recorder.spans().iter().all(|span| span.name == "HTTP"));
}

#[tokio::test]
async fn more_hosts_than_the_bound_share_one_series() {
    let recorder = Recorder::new();
    let client = client_layer(&recorder).layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
    }));
    for i in 0..600 {
        let request = Request::get(format!("http://host{i}.example/")).body(Empty::new()).unwrap();
        client.clone().oneshot(request).await.unwrap();
    }
    let durations = recorder.metric("http.client.request.duration");
    assert_eq!(durations.points().len(), 513);
    assert_eq!(durations.with("server.address", "_OTHER").count(), 88);
    let last = recorder.spans().pop().unwrap();
    let address = last.attributes.iter().find(|kv| kv.key.as_str() == "server.address").unwrap();
    assert_eq!(address.value.as_str(), "host599.example", "a span tells the host that it called");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_route_with_many_outcomes_loses_none() {
    let recorder = Recorder::new();
    let layer = server_layer(&recorder);
    // More attribute sets than are cached per route.
    for status in (200..300).chain(200..300) {
        let request = Request::get("/").body(Empty::new()).unwrap();
        let answer = move |_| async move { Response::builder().status(status).body(Body::empty()).unwrap() };
        drain(call(&layer, request, answer).await).await;
    }
    let durations = recorder.metric("http.server.request.duration");
    assert_eq!((durations.points().len(), durations.count()), (100, 200));
}

#[tokio::test]
async fn a_span_and_its_duration_are_of_one_length() {
    let recorder = Recorder::new();
    let request = Request::get("/").body(Empty::new()).unwrap();
    drain(call(&server_layer(&recorder), request, |_| async { Response::new(Body::from("x")) }).await).await;
    let span = recorder.span("GET");
    let length = span.end_time.duration_since(span.start_time).unwrap().as_secs_f64();
    let recorded = recorder.metric("http.server.request.duration").sum();
    assert!((length - recorded).abs() < 1e-6, "{length} and {recorded}");
}
