//! Nesting of `tracing` spans and spans of the layers in both directions, by tracing-opentelemetry's context
//! activation.

use std::convert::Infallible;

use http::{Request, Response};
use opentelemetry::trace::{SpanKind, TracerProvider};
use otel_testing::Recorder;
use tonic::body::Body;
use tonic::transport::Server;
use tracing::Instrument;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt};

use crate::echo::{UNARY, say};
use crate::support::{client, client_layer, listen, serve, server_layer};

#[tokio::test]
async fn spans_of_tracing_nest_inside_and_around_ours() {
    let recorder = Recorder::new();
    let bridge = tracing_opentelemetry::layer().with_tracer(recorder.tracer_provider().tracer("app"));
    // tonic and its dependencies have `tracing` spans of their own.
    let bridge = bridge.with_filter(filter_fn(|metadata| metadata.target().starts_with(module_path!())));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));

    // A server whose handler calls another server within a `tracing` span.
    let behind = client(&client_layer(&recorder), serve(server_layer(&recorder)).await);
    let (address, incoming) = listen().await;
    let service = tower::service_fn(move |_: Request<Body>| {
        let behind = behind.clone();
        let work = async move {
            tokio::task::yield_now().await;
            behind.unary(say("hello")).await.unwrap();
            let response = Response::builder().header("grpc-status", 0).body(Body::empty()).unwrap();
            Ok::<_, Infallible>(response)
        };
        work.instrument(tracing::info_span!("work"))
    });
    let server = Server::builder().layer(server_layer(&recorder).with_known_methods([UNARY]));
    tokio::spawn(async move { server.serve_with_incoming(service, incoming).await });

    let client = client(&client_layer(&recorder), address);
    // The response has no message, so that tonic returns an error.
    client.unary(say("hello")).instrument(tracing::info_span!("ask")).await.unwrap_err();
    recorder.wait_for_spans(6).await;

    let tree = recorder.tree();
    let named = |name: &str, kind: &SpanKind, parent: Option<&opentelemetry_sdk::trace::SpanData>| {
        let spans = recorder.spans();
        let found = spans.into_iter().find(|span| {
            span.name == name
                && span.span_kind == *kind
                && parent.is_none_or(|parent| span.parent_span_id == parent.span_context.span_id())
        });
        found.unwrap_or_else(|| panic!("{kind:?} {name} in\n{tree}"))
    };
    let ask = named("ask", &SpanKind::Internal, None);
    let outer = named(UNARY, &SpanKind::Client, Some(&ask));
    let server = named(UNARY, &SpanKind::Server, Some(&outer));
    let work = named("work", &SpanKind::Internal, Some(&server));
    let inner = named(UNARY, &SpanKind::Client, Some(&work));
    named(UNARY, &SpanKind::Server, Some(&inner));
}
