//! Layers built before the globals are set. A test binary of its own, because globals are set once per process.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use opentelemetry::global;
use otel_http::{ClientLayer, ServerLayer};
use otel_testing::assert_follows_globals;
use tower::{Layer, Service, ServiceExt};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn layers_that_were_built_before_the_sdk_record_after_it() {
    let client = ClientLayer::new().layer(tower::service_fn(|request: Request<Empty<Bytes>>| async move {
        let sent = request.headers().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        Ok::<_, std::io::Error>(
            Response::builder()
                .header("x-sent", sent.unwrap_or_default())
                .body(Empty::<Bytes>::new())
                .unwrap(),
        )
    }));
    let mut server = ServerLayer::new().layer(tower::service_fn(move |_: Request<Empty<Bytes>>| {
        client.clone().oneshot(Request::get("http://api.example/").body(Empty::new()).unwrap())
    }));
    let mut call = async || {
        let request = Request::get("/").header("traceparent", TRACEPARENT).body(Empty::new()).unwrap();
        let response = server.ready().await.unwrap().call(request).await.unwrap();
        response.headers()["x-sent"].to_str().unwrap().to_owned()
    };

    let set_propagator = || otel_propagation::set_global(otel_propagation::CompositePropagator::default());
    let recorder = assert_follows_globals(TRACEPARENT, set_propagator, &mut call).await;
    assert_eq!(recorder.metric("http.server.request.duration").count(), 2);
    assert_eq!(recorder.metric("http.client.request.duration").count(), 2);
    let first = &recorder.spans()[1];
    assert!(
        first.attributes.iter().any(|kv| kv.key.as_str() == "url.path"),
        "the first span has its attributes too"
    );

    // OpenTelemetry's global propagator is replaced: the typed global of otel-propagation is no longer used.
    global::set_text_map_propagator(otel_propagation::B3Propagator::single());
    assert_eq!(call().await, "");
}
