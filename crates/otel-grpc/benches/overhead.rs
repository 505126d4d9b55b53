//! Overhead of the layers over a bare service, with a sampled and an unsampled parent, with and without counting of
//! messages.
//!
//! For the comparison with other crates, in instructions and allocations, see `benchmarks/`.

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_grpc::{ClientLayer, LayerOptions, MessageEvents, ServerLayer};
use otel_propagation::CompositePropagator;
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
    Ok(Response::new(Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))))))
}

fn measure<S, B>(c: &mut Criterion, name: &str, flags: &str, mut service: S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes>,
{
    c.bench_function(&format!("{name}/{flags}"), |b| {
        b.iter_batched(
            || request(flags),
            |request| {
                let call =
                    async { service.call(request).await.map(|response| response.into_body().collect()) };
                // The services never return `Pending`.
                if let Some(Ok(body)) = call.now_or_never() {
                    black_box(body.now_or_never());
                }
            },
            BatchSize::SmallInput,
        );
    });
}

fn overhead(c: &mut Criterion) {
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    let meters = SdkMeterProvider::builder().build();
    for flags in ["01", "00"] {
        measure(c, "bare", flags, service_fn(answer));
        for (what, events) in [("", MessageEvents::Off), (", each message", MessageEvents::Each)] {
            let server = ServerLayer::new().with_tracer_provider(&tracers).with_meter_provider(&meters);
            let server = server.with_propagator(CompositePropagator::default()).with_message_events(events);
            measure(c, &format!("server{what}"), flags, server.layer(service_fn(answer)));
            let client = ClientLayer::new().with_tracer_provider(&tracers).with_meter_provider(&meters);
            let client = client.with_propagator(CompositePropagator::default()).with_message_events(events);
            measure(c, &format!("client{what}"), flags, client.layer(service_fn(answer)));
        }
    }
}

criterion_group!(benches, overhead);
criterion_main!(benches);
