//! Property tests: for any request head, the layers do not panic and use no untrusted value in names or metrics.

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use opentelemetry::Value;
use opentelemetry::trace::SpanId;
use otel_http::{ForwardingHeaders, IpNet, PeerAddr};
use otel_testing::Recorder;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tower::{Layer, ServiceExt};

use crate::support::{call, client_layer, server_layer};

/// Names of headers that the layers read, and one that they ignore.
const NAMES: [&str; 12] = [
    "traceparent",
    "tracestate",
    "baggage",
    "host",
    "user-agent",
    "content-length",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-tenant",
    "x-other",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..80),
        // Almost valid values, which reach deep into the parsers.
        "(for|host|proto|by)=[\"\\[_a-z0-9:.;, ]{0,40}".prop_map(String::into_bytes),
        "0[0-9]-[0-9a-f]{30,34}-[0-9a-f]{14,18}-[0-9a-f]{1,3}".prop_map(String::into_bytes),
        "[a-z0-9@=,;% ]{0,60}".prop_map(String::into_bytes),
        (0..3_usize).prop_map(|kind| vec![b"a,="[kind]; 65_536]),
    ]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    vec((0..NAMES.len(), value(), prop_oneof![9 => 1..4_usize, 1 => 9_000..10_001_usize]), 0..6).prop_map(
        |list| {
            let mut headers = HeaderMap::new();
            for (name, value, times) in list {
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                let times = if value.len() > 100 { times.min(4) } else { times };
                for _ in 0..times {
                    headers.append(HeaderName::from_static(NAMES[name]), value.clone());
                }
            }
            headers
        },
    )
}

/// Generates a path and a query of any bytes that a URI may contain.
fn uri() -> impl Strategy<Value = http::Uri> {
    "/[!-~]{0,60}".prop_map(|text| text.parse().unwrap_or_default())
}

fn longest(value: &Value) -> usize {
    match value {
        Value::Array(opentelemetry::Array::String(list)) => {
            list.iter().map(|text| text.as_str().len()).max().unwrap_or(0)
        }
        other => other.as_str().len(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_server_survives_every_head(headers in headers(), uri in uri(), trusted in any::<bool>(), standard in any::<bool>()) {
        let recorder = Recorder::new();
        let kind = if standard { ForwardingHeaders::Forwarded } else { ForwardingHeaders::XForwarded };
        let everybody: IpNet = "0.0.0.0/0".parse().unwrap();
        let layer = server_layer(&recorder)
            .with_body_sizes(true)
            .with_request_headers(["x-tenant"])
            .with_trusted_proxies(kind, trusted.then_some(everybody));
        let mut request = Request::builder().uri(uri).body(Empty::new()).unwrap();
        *request.headers_mut() = headers;
        request.extensions_mut().insert(PeerAddr("192.0.2.1:1".parse().unwrap()));
        let response = call(&layer, request, |_| async { Response::new(Body::from("fine")) });
        let response = response.now_or_never().unwrap();
        let body = response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
        prop_assert_eq!(body, "fine");
        recorder.assert_clean();
        let span = recorder.span("GET");
        for attribute in &span.attributes {
            prop_assert!(longest(&attribute.value) <= 4096, "{}", attribute.key);
        }
        prop_assert!(recorder.metric("http.server.request.duration").points().len() == 1);
        if span.parent_span_id == SpanId::INVALID {
            prop_assert_eq!(span.links.links.len(), 0);
        }
    }

    #[test]
    fn a_client_survives_every_head(headers in headers(), uri in uri()) {
        let recorder = Recorder::new();
        let client = client_layer(&recorder).layer(tower::service_fn(|request: Request<Empty<Bytes>>| async move {
            let parents = request.headers().get_all("traceparent").iter().count();
            Ok::<_, std::io::Error>(Response::builder().status(200 + parents as u16).body(Empty::<Bytes>::new()).unwrap())
        }));
        let mut request = Request::builder().uri(uri).body(Empty::new()).unwrap();
        *request.headers_mut() = headers;
        let response = client.oneshot(request).now_or_never().unwrap().unwrap();
        prop_assert_eq!(response.status(), 201, "exactly one traceparent goes out");
        recorder.assert_clean();
        prop_assert_eq!(recorder.spans().len(), 1);
    }
}
