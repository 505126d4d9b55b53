//! Overhead of the layers over a bare service, with a sampled and an unsampled parent.
//!
//! `cargo bench -p otel-http --bench overhead -- --instructions` counts instructions and needs valgrind.
//! For the comparison with other crates, in instructions and allocations, see `benchmarks/`.

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_testing::bench::{self, Bench};
use tower::{Layer, Service, ServiceExt, service_fn};

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

fn measure<B: http_body::Body<Data = Bytes>>(
    bench: &mut Bench,
    name: &str,
    flags: &str,
    mut service: impl Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
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

async fn answer_with(status: u16) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder().status(status).body(Full::new(Bytes::from_static(b"answer")));
    Ok(response.unwrap_or_default())
}

/// Fills the caches of a layer with one more combination of attributes.
fn respond(layer: &ServerLayer, status: u16) {
    let service = layer.layer(service_fn(move |_| answer_with(status)));
    let response = service.oneshot(request("01")).now_or_never();
    if let Some(Ok(response)) = response {
        black_box(response.into_body().collect().now_or_never());
    }
}

fn overhead(bench: &mut Bench) {
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    let meters = SdkMeterProvider::builder().build();
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    for flags in ["01", "00"] {
        measure(bench, "bare", flags, service_fn(answer));
        let server = ServerLayer::new().with_tracer_provider(&tracers).with_meter_provider(&meters);
        let server = server.with_propagator(CompositePropagator::default());
        measure(bench, "server", flags, server.layer(service_fn(answer)));
        for status in 201..=232 {
            respond(&server, status);
        }
        measure(bench, "server, its 33rd status", flags, server.layer(service_fn(|_| answer_with(232))));
        let client = ClientLayer::new().with_tracer_provider(&tracers).with_meter_provider(&meters);
        let client = client.with_propagator(CompositePropagator::default());
        measure(bench, "client", flags, client.layer(service_fn(answer)));
    }
}

fn main() -> std::io::Result<()> {
    bench::main(overhead)
}
