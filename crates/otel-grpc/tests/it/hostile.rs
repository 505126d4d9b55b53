//! Property tests: for any headers, trailers and bodies, the layers do not panic, do not change them, and use no
//! untrusted value in names or metrics.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::Value;
use otel_grpc::MessageEvents;
use otel_testing::Recorder;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tonic::body::Body;
use tower::{Layer, ServiceExt};

use crate::support::{NAMES, attribute, client_layer, server_layer};

/// Names of headers that the layers read, and some that they ignore.
const READ: [&str; 12] = [
    "traceparent",
    "tracestate",
    "baggage",
    "grpc-timeout",
    "grpc-encoding",
    "grpc-status",
    "grpc-message",
    "content-length",
    "te",
    "x-tenant",
    "x-tenant-bin",
    "x-other",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..80),
        // Almost valid values, which reach deep into the parsers.
        "[0-9]{0,9}[HMSmun]{0,2}".prop_map(String::into_bytes),
        "-?[0-9]{0,3}".prop_map(String::into_bytes),
        "0[0-9]-[0-9a-f]{30,34}-[0-9a-f]{14,18}-[0-9a-f]{1,3}".prop_map(String::into_bytes),
        "[a-z0-9@=,;% ]{0,60}".prop_map(String::into_bytes),
        (0..3_usize).prop_map(|kind| vec![b"a,="[kind]; 65_536]),
    ]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let times = prop_oneof![9 => 1..4_usize, 1 => 900..1_001_usize];
    vec((0..READ.len(), value(), times), 0..6).prop_map(|list| {
        let mut headers = HeaderMap::new();
        for (name, value, times) in list {
            let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
            let times = if value.len() > 100 { times.min(4) } else { times };
            for _ in 0..times {
                headers.append(HeaderName::from_static(READ[name]), value.clone());
            }
        }
        headers
    })
}

/// Generates paths, some of them similar to that of a method.
fn path() -> impl Strategy<Value = Uri> {
    let text = prop_oneof![
        "/[!-~]{0,60}",
        "/[a-z.é]{0,9}/[A-Zé.%/]{0,300}",
        (0..400_usize).prop_map(|length| format!("/a.B/{}", "C".repeat(length))),
        "[*]",
        "http://[a-z@:0-9.]{1,300}/a.B/C",
    ];
    text.prop_map(|text| text.parse().unwrap_or_default())
}

/// Generates the frames of a body, and its trailers, if it has any.
fn frames() -> impl Strategy<Value = (Vec<Vec<u8>>, Option<HeaderMap>)> {
    let message = vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
        if bytes.len() > 5 {
            // A prefix that may be valid.
            bytes[..4].fill(0);
        }
        bytes
    });
    (vec(message, 0..6), proptest::option::of(headers()))
}

fn body((frames, trailers): &(Vec<Vec<u8>>, Option<HeaderMap>)) -> Body {
    let frames = frames.iter().cloned().map(|bytes| Frame::data(Bytes::from(bytes)));
    let frames: Vec<_> = frames.chain(trailers.clone().map(Frame::trailers)).collect();
    Body::new(StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>))))
}

fn longest(value: &Value) -> usize {
    match value {
        Value::Array(opentelemetry::Array::String(list)) => {
            assert!(list.len() <= 16);
            list.iter().map(|text| text.as_str().len()).max().unwrap_or(0)
        }
        other => other.as_str().len(),
    }
}

/// Asserts the invariants of the one call that was recorded.
fn check(recorder: &Recorder, side: &str) {
    recorder.assert_clean();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 1, "{}", recorder.tree());
    let status = attribute(&spans[0], "rpc.response.status_code").unwrap();
    assert!(NAMES.contains(&&*status), "{status}");
    for attribute in &spans[0].attributes {
        assert!(longest(&attribute.value) <= 4_096, "{}", attribute.key);
        assert!(!attribute.key.as_str().ends_with("-bin"), "{}", attribute.key);
    }
    let durations = recorder.metric(&format!("rpc.{side}.call.duration"));
    assert_eq!(durations.with("rpc.response.status_code", status).count(), 1);
}

/// Reads a response completely, for comparison.
async fn seen<B>(response: Response<B>) -> (String, Bytes, Option<HeaderMap>)
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let head = format!("{} {:?}", response.status(), response.headers());
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned();
    (head, body.to_bytes(), trailers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_server_survives_every_call(headers in headers(), path in path(), sent in frames(), reply in frames()) {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder)
            .with_message_metrics(true)
            .with_message_events(MessageEvents::Each)
            .with_request_metadata(["x-tenant", "x-tenant-bin"]);
        let service = layer.layer(tower::service_fn(|request: Request<Body>| {
            let reply = body(&reply);
            async {
                let heard = request.into_body().collect().await.unwrap();
                let trailers = heard.trailers().cloned();
                // A response of gRPC, so that each request is a call, whatever its path.
                let mut response = Response::new(reply);
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                response.extensions_mut().insert((heard.to_bytes(), trailers));
                Ok::<_, Infallible>(response)
            }
        }));
        let mut request = Request::post(path).body(body(&sent)).unwrap();
        *request.headers_mut() = headers;
        let response = service.oneshot(request).now_or_never().unwrap().unwrap();
        let heard = response.extensions().get::<(Bytes, Option<HeaderMap>)>().unwrap().clone();
        prop_assert_eq!(heard, (Bytes::from(sent.0.concat()), sent.1), "the request was changed");
        let (_, bytes, trailers) = seen(response).now_or_never().unwrap();
        prop_assert_eq!((bytes, trailers), (Bytes::from(reply.0.concat()), reply.1), "the reply was changed");
        check(&recorder, "server");
    }

    #[test]
    fn a_client_survives_every_reply(
        headers in headers(), path in path(), code in 100_u16..1_000, reply in frames(), told in headers(),
    ) {
        let recorder = Recorder::new();
        let server = tower::service_fn(|request: Request<Body>| {
            let parents = request.headers().get_all("traceparent").iter().count();
            assert_eq!(parents, 1, "exactly one goes out");
            let mut response = Response::builder().status(code).body(body(&reply)).unwrap();
            *response.headers_mut() = told.clone();
            async { Ok::<_, Infallible>(response) }
        });
        let request = || {
            let mut request = Request::post(path.clone()).body(Body::empty()).unwrap();
            *request.headers_mut() = headers.clone();
            request
        };
        let layer = client_layer(&recorder)
            .with_message_metrics(true)
            .with_message_events(MessageEvents::Each)
            .with_response_metadata(["x-tenant", "x-tenant-bin"]);
        let response = layer.layer(server).oneshot(request()).now_or_never().unwrap().unwrap();
        let expected = {
            let mut response = Response::builder().status(code).body(body(&reply)).unwrap();
            *response.headers_mut() = told.clone();
            response
        };
        let (seen, expected) = (seen(response).now_or_never().unwrap(), seen(expected).now_or_never().unwrap());
        prop_assert_eq!(seen, expected);
        check(&recorder, "client");
        prop_assert!(recorder.spans()[0].name == "grpc");
    }
}
