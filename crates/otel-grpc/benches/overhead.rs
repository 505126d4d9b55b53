//! Overhead of the layers over a bare service, with a sampled and an unsampled parent, with and without counting of
//! messages, and of a layer of HTTP around or inside of one of gRPC.
//!
//! `cargo bench -p otel-grpc --bench overhead -- --instructions` counts instructions and needs valgrind.
//! For the comparison with other crates, in instructions and allocations, see `benchmarks/`.

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_grpc::{ClientLayer, LayerOptions, MessageEvents, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_testing::bench::{self, Bench};
use tonic::GrpcMethod;
use tonic::body::Body;
use tower::{Layer, Service, service_fn};

const MESSAGE: &[u8] = &[0, 0, 0, 0, 5, 10, 3, b'A', b'd', b'a'];

fn request(flags: &str) -> Request<Body> {
    Request::post("http://shop.example:50051/shop.Orders/Place")
        .header("content-type", "application/grpc")
        .header("traceparent", format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"))
        .extension(GrpcMethod::new("shop.Orders", "Place"))
        .body(Body::new(Full::new(Bytes::from_static(MESSAGE))))
        .unwrap_or_default()
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let _ = black_box(request).into_body().collect().now_or_never();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(Bytes::from_static(MESSAGE)), Frame::trailers(trailers)];
    let body = Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))));
    // Without it the server's layer would learn only from the trailers that the request is a call.
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap_or_default())
}

fn measure<B: http_body::Body<Data = Bytes>>(
    bench: &mut Bench,
    name: &str,
    flags: &str,
    mut service: impl Service<Request<Body>, Response = Response<B>, Error = Infallible>,
) {
    let name = format!("{name}/{flags}");
    bench.measure_future(
        &name,
        || request(flags),
        |request| {
            let call = service.call(request);
            async {
                let Ok(response) = call.await;
                response.into_body().collect().await.is_ok()
            }
        },
    );
}

fn overhead(bench: &mut Bench) {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let providers = Providers::new();
    let (http_server, http_client) =
        (providers.set(otel_http::ServerLayer::new()), providers.set(otel_http::ClientLayer::new()));
    for flags in ["01", "00"] {
        measure(bench, "bare", flags, service_fn(answer));
        for (what, events) in [("", MessageEvents::Off), (", each message", MessageEvents::Each)] {
            let server = providers.set(ServerLayer::new()).with_message_events(events);
            measure(bench, &format!("server{what}"), flags, server.layer(service_fn(answer)));
            let client = providers.set(ClientLayer::new()).with_message_events(events);
            measure(bench, &format!("client{what}"), flags, client.layer(service_fn(answer)));
        }
        let (server, client) = (providers.set(ServerLayer::new()), providers.set(ClientLayer::new()));
        let both = http_server.layer(server.layer(service_fn(answer)));
        measure(bench, "server, HTTP around gRPC", flags, both);
        let both = server.layer(http_server.layer(service_fn(answer)));
        measure(bench, "server, gRPC around HTTP", flags, both);
        let both = http_client.layer(client.layer(service_fn(answer)));
        measure(bench, "client, HTTP around gRPC", flags, both);
        measure(bench, "server, HTTP alone", flags, http_server.layer(service_fn(answer)));
        measure(bench, "client, HTTP alone", flags, http_client.layer(service_fn(answer)));
    }
}

struct Providers {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
}

impl Providers {
    fn new() -> Self {
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
        Self { tracers, meters: SdkMeterProvider::builder().build() }
    }

    fn set<L: LayerOptions>(&self, layer: L) -> L {
        let layer = layer.with_tracer_provider(&self.tracers).with_meter_provider(&self.meters);
        layer.with_propagator(CompositePropagator::default())
    }
}

fn main() -> std::io::Result<()> {
    bench::main(overhead)
}
