//! Overhead of the layers over a bare service, with a sampled and an unsampled parent.
//!
//! For the comparison with other crates, in instructions and allocations, see `benchmarks/`.

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_propagation::CompositePropagator;
use tower::{Layer, Service, service_fn};

fn request(flags: &str) -> Request<Full<Bytes>> {
    Request::get("http://shop.example:8080/users/7?a=1")
        .header("host", "shop.example:8080")
        .header("user-agent", "bench/1")
        .header("traceparent", format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"))
        .body(Full::default())
        .unwrap_or_default()
}

async fn answer(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    black_box(request);
    Ok(Response::new(Full::new(Bytes::from_static(b"answer"))))
}

fn measure<S, B>(c: &mut Criterion, name: &str, flags: &str, mut service: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
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
        let server = ServerLayer::new().with_tracer_provider(&tracers).with_meter_provider(&meters);
        let server = server.with_propagator(CompositePropagator::default());
        measure(c, "server", flags, server.layer(service_fn(answer)));
        let client = ClientLayer::new().with_tracer_provider(&tracers).with_meter_provider(&meters);
        let client = client.with_propagator(CompositePropagator::default());
        measure(c, "client", flags, client.layer(service_fn(answer)));
    }
}

criterion_group!(benches, overhead);
criterion_main!(benches);
