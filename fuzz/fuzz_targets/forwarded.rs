//! Arbitrary bytes in the head of an HTTP request: `Forwarded`, `X-Forwarded-*`, `Host` and the target. The layer does not
//! change the response, and the attributes are bounded.

#![no_main]

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderName, HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use otel_http::{ForwardingHeaders, LayerOptions, PeerAddr, ServerLayer};
use tower_layer::Layer;
use tower_service::Service;

const NAMES: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "host", "user-agent"];

#[derive(Clone)]
struct Answer;

impl Service<Request<String>> for Answer {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        ready(Ok(Response::new(String::new())))
    }
}

fuzz_target!(|data: &[u8]| {
    let mut request = Request::new(String::new());
    for line in data.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        match NAMES.get(usize::from(*which) % 8) {
            Some(name) => drop(request.headers_mut().append(HeaderName::from_static(name), value)),
            None => {
                *request.uri_mut() = value.to_str().ok().and_then(|uri| uri.parse().ok()).unwrap_or_default()
            }
        }
    }
    request.extensions_mut().insert(PeerAddr(([192, 0, 2, 1], 1).into()));
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let everybody = "0.0.0.0/0".parse().into_iter();
    let kind = match data.first() {
        Some(byte) if byte % 2 == 0 => ForwardingHeaders::Forwarded,
        _ => ForwardingHeaders::XForwarded,
    };
    let layer = ServerLayer::new().with_tracer_provider(&provider).with_trusted_proxies(kind, everybody);
    let mut service = layer.layer(Answer);
    let answer = pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Ok(_))));
    drop(answer);
    let spans = exporter.get_finished_spans().unwrap_or_default();
    assert_eq!(spans.len(), 1);
    assert!(spans[0].attributes.iter().all(|attribute| attribute.value.as_str().len() <= 4096));
});
