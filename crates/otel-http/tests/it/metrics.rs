//! Server and client metrics, rendered, and their cardinality limits.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use otel_http::UrlTemplate;
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
    let layer = client_layer(&recorder).with_max_untrusted_series(512);
    let client = layer.layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
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

#[tokio::test]
async fn a_known_host_keeps_its_series_when_untrusted_hosts_have_used_up_the_limit() {
    let recorder = Recorder::new();
    let layer = client_layer(&recorder);
    let call = async |url: String, status: u16| {
        let client = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
            let response = Response::builder().status(status).body(Empty::<Bytes>::new());
            Ok::<_, std::io::Error>(response.unwrap())
        }));
        client.oneshot(Request::get(url).body(Empty::new()).unwrap()).await.unwrap();
    };
    call("https://payments.internal/".into(), 200).await;
    for host in 0..600 {
        for scheme in ["http", "https"] {
            for status in [200, 404] {
                call(format!("{scheme}://h{host}.example/"), status).await;
            }
        }
    }
    call("https://payments.internal/".into(), 503).await;
    let durations = recorder.metric("http.client.request.duration");
    let overflow =
        durations.points().iter().filter(|point| point.attribute("otel.metric.overflow").is_some());
    assert_eq!(overflow.count(), 0);
    let others = durations.clone().with("server.address", "_OTHER").points().len();
    let series = durations.points().len();
    assert!((1000..=1001).contains(&(series - others - 1)), "{series} series, {others} of other hosts");
    assert_eq!(durations.with("server.address", "payments.internal").with("error.type", "503").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_template_is_an_attribute_of_the_client_metrics_that_require_it() {
    let recorder = Recorder::new();
    let layer = client_layer(&recorder).with_body_sizes(true);
    let client = layer.layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, std::io::Error>(
            Response::builder().header("content-length", "5").body(Empty::<Bytes>::new()).unwrap(),
        )
    }));
    for template in [Some("/users/{id}"), Some("/users/{id}"), Some("/orders/{id}"), None] {
        let mut request = Request::post("http://api.example/users/7").header("content-length", "3");
        if let Some(template) = template {
            request = request.extension(UrlTemplate(template.into()));
        }
        client.clone().oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
    }
    for name in ["http.client.request.body.size", "http.client.response.body.size"] {
        let sizes = recorder.metric(name);
        assert_eq!(sizes.points().len(), 3, "{name}");
        assert_eq!(sizes.with("url.template", "/users/{id}").count(), 2, "{name}");
    }
    let active = recorder.metric("http.client.active_requests");
    assert_eq!((active.points().len(), active.sum()), (3, 0.0));
    assert_eq!(active.with("url.template", "/orders/{id}").points().len(), 1);
    let durations = recorder.metric("http.client.request.duration");
    assert_eq!((durations.points().len(), durations.count()), (1, 4), "opt-in for durations");
    recorder.assert_clean();
}

#[tokio::test]
async fn templates_do_not_use_up_the_limit_of_hosts() {
    let recorder = Recorder::new();
    let layer = client_layer(&recorder);
    let call = async |url: &str, template: Option<String>| {
        let client = layer.layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
            Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
        }));
        let mut request = Request::get(url);
        if let Some(template) = template {
            request = request.extension(UrlTemplate(template.into()));
        }
        client.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
    };
    for template in 0..1000 {
        call("http://api.example/", Some(format!("/{template}"))).await;
    }
    call("http://other.example/", None).await;
    let durations = recorder.metric("http.client.request.duration");
    assert_eq!(durations.with("server.address", "other.example").count(), 1);
    recorder.assert_clean();
}

#[cfg(feature = "tracing")]
mod routes {
    use std::sync::{Arc, Mutex};

    use otel_http::LateRoute;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Keeps the texts of all events.
    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Events {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("otel_http")
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            struct Text(String);
            impl Visit for Text {
                fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                    self.0.push_str(&format!("{field}={value:?} "));
                }
            }
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn past_the_bound_of_routes_one_warning_is_logged_and_every_route_is_recorded() {
        for bound in [1024, 10] {
            let recorder = Recorder::new();
            let layer = server_layer(&recorder).with_late_route(true);
            // The default stays without a call.
            let layer = if bound == 1024 { layer } else { layer.with_max_cached_routes(bound) };
            let events = Events::default();
            let _default = tracing::subscriber::set_default(events.clone());
            for route in 0..bound + 6 {
                let request = Request::get("/").body(Empty::new()).unwrap();
                let answer = move |request: Request<_>| async move {
                    request.extensions().get::<LateRoute>().unwrap().set(format!("/{route}"));
                    Response::new(Body::empty())
                };
                drain(call(&layer, request, answer).await).await;
            }
            let events = events.0.lock().unwrap();
            assert_eq!(events.len(), 1, "{events:?}");
            let (first, limit) = (format!("route=\"/{bound}\""), format!("{bound} routes"));
            assert!(events[0].contains(&first) && events[0].contains(&limit), "{events:?}");
            let durations = recorder.metric("http.server.request.duration");
            assert_eq!(durations.with("http.route", format!("/{}", bound + 5)).count(), 1);
        }
    }
}
