//! Nesting of `tracing` spans and spans of the layers in both directions, by tracing-opentelemetry's context
//! activation.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use opentelemetry::trace::TracerProvider;
use otel_testing::Recorder;
use tower::{Layer, ServiceExt};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{call, client_layer, server_layer};

#[tokio::test]
async fn spans_of_tracing_nest_inside_and_around_ours() {
    let recorder = Recorder::new();
    let bridge = tracing_opentelemetry::layer().with_tracer(recorder.tracer_provider().tracer("app"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));

    let client = client_layer(&recorder);
    let request = Request::get("/").body(Empty::new()).unwrap();
    let response = call(&server_layer(&recorder), request, move |_| {
        let client = client.clone().layer(tower::service_fn(|_: Request<Empty<Bytes>>| async {
            Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
        }));
        async move {
            let work = async move {
                tokio::task::yield_now().await;
                let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
                client.oneshot(request).await.unwrap();
            };
            work.instrument(tracing::info_span!("work")).await;
            Response::new(Body::from("done"))
        }
    })
    .await;
    response.into_body().collect().await.unwrap();

    let spans = recorder.spans();
    let named = |name: &str, kind: &str| {
        let found = spans.iter().find(|span| span.name == name && format!("{:?}", span.span_kind) == kind);
        found.unwrap_or_else(|| panic!("{name} in\n{}", recorder.tree())).clone()
    };
    let (server, work, client) = (named("GET", "Server"), named("work", "Internal"), named("GET", "Client"));
    assert_eq!(work.parent_span_id, server.span_context.span_id(), "{}", recorder.tree());
    assert_eq!(client.parent_span_id, work.span_context.span_id(), "{}", recorder.tree());
}
