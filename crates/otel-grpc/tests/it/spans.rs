//! Spans of each kind of call, compared as rendered trees.

use std::convert::Infallible;

use futures_util::{StreamExt, stream};
use http::{Request, Response};
use otel_grpc::ClientLayer;
use otel_testing::Recorder;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, ServiceExt};

use crate::echo::{UNARY, fail, messages, repeat, say};
use crate::support::{attribute, client, client_layer, pair, serve, server_layer};

#[tokio::test]
async fn a_unary_call_is_a_span_on_each_side() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    assert_eq!(client.unary(say("hello")).await.unwrap().into_inner().text, "hello");
    recorder.wait_for_spans(2).await;
    // The peer's address comes from tonic's transport.
    let peer = "        network.peer.address: 127.0.0.1\n        network.peer.port: PORT\n";
    let peer = if cfg!(feature = "transport") { peer } else { "" };
    assert_eq!(
        recorder.tree(),
        format!(
            "\
CLIENT test.Echo/Unary
│   rpc.method: test.Echo/Unary
│   rpc.response.status_code: OK
│   rpc.system.name: grpc
│   server.address: 127.0.0.1
│   server.port: PORT
└── SERVER test.Echo/Unary  ⇠ remote
{peer}        rpc.method: test.Echo/Unary
        rpc.response.status_code: OK
        rpc.system.name: grpc
        server.address: 127.0.0.1
        server.port: PORT
"
        )
    );
    recorder.assert_clean();
}

#[tokio::test]
async fn streams_are_one_span_each() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let some = || messages(stream::iter(["a", "b", "c"].map(say)));
    assert_eq!(client.collect(some()).await.unwrap().into_inner().number, 3);
    let answers = client.repeat(repeat(3, Code::Ok)).await.unwrap().into_inner();
    assert_eq!(answers.map(Result::unwrap).count().await, 3);
    let answers = client.talk(some()).await.unwrap().into_inner();
    assert_eq!(answers.map(|answer| answer.unwrap().text).collect::<Vec<_>>().await, ["a", "b", "c"]);
    recorder.wait_for_spans(6).await;
    recorder.assert_clean();
    for method in ["Collect", "Repeat", "Talk"] {
        let tree = recorder.tree();
        assert_eq!(tree.matches(&format!("SERVER test.Echo/{method}  ⇠ remote\n")).count(), 1, "{tree}");
        for side in ["client", "server"] {
            let durations = recorder.metric(&format!("rpc.{side}.call.duration"));
            let durations = durations.with("rpc.method", format!("test.Echo/{method}"));
            assert_eq!(durations.with("rpc.response.status_code", "OK").count(), 1, "{}", recorder.metrics());
        }
    }
}

#[tokio::test]
async fn a_status_is_an_error_by_side() {
    let recorder = Recorder::new();
    let server = server_layer(&recorder).with_known_methods([UNARY]);
    let client = client(&client_layer(&recorder), serve(server).await);
    assert_eq!(client.unary(fail(Code::NotFound)).await.unwrap_err().code(), Code::NotFound);
    recorder.wait_for_spans(2).await;
    let tree = recorder.tree();
    assert!(
        tree.starts_with("CLIENT test.Echo/Unary  error: as it was asked to\n│   error.type: NOT_FOUND\n"),
        "{tree}"
    );
    assert!(tree.contains("└── SERVER test.Echo/Unary  ⇠ remote\n"), "{tree}");
    assert_eq!(tree.matches("rpc.response.status_code: NOT_FOUND").count(), 2, "{tree}");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_method_that_the_server_does_not_know_is_other() {
    let recorder = Recorder::new();
    let caller = pair(&recorder).await;
    for path in ["/test.Echo/Nonsense", "/test.Nobody/Unary"] {
        assert_eq!(caller.by_hand(path).await.unwrap_err().code(), Code::Unimplemented);
    }
    recorder.wait_for_spans(4).await;
    let tree = recorder.tree();
    assert_eq!(tree.matches("rpc.method: _OTHER\n").count(), 4, "{tree}");
    assert_eq!(tree.matches("rpc.method_original: test.Echo/Nonsense\n").count(), 2, "{tree}");
    assert_eq!(tree.matches("SERVER grpc  error").count(), 2, "{tree}");
    assert!(!recorder.metrics().contains("Nonsense"), "{}", recorder.metrics());
    recorder.assert_clean();

    // A known method whose handler returns UNIMPLEMENTED keeps its name.
    let recorder = Recorder::new();
    let server = server_layer(&recorder).with_known_methods([UNARY]);
    let address = serve(server).await;
    client(&client_layer(&recorder), address).unary(fail(Code::Unimplemented)).await.unwrap_err();
    recorder.wait_for_spans(2).await;
    let tree = recorder.tree();
    assert!(tree.contains("SERVER test.Echo/Unary  error: as it was asked to  ⇠ remote\n"), "{tree}");
}

/// Calls a URI through a client layer and returns `server.address` and `server.port` of its span.
async fn called(layer: ClientLayer, recorder: &Recorder, uri: &str) -> (Option<String>, Option<String>) {
    let client = layer.layer(tower::service_fn(|_: Request<Body>| async {
        let response = Response::builder().header("grpc-status", 0);
        Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
    }));
    client.oneshot(Request::post(uri).body(Body::empty()).unwrap()).await.unwrap();
    let span = recorder.spans().pop().unwrap();
    (attribute(&span, "server.address"), attribute(&span, "server.port"))
}

#[tokio::test]
async fn a_clients_server_is_its_target_or_else_its_origin() {
    let recorder = Recorder::new();
    let bare = || client_layer(&recorder);
    let aimed = || bare().with_target(&"https://orders.internal".parse().unwrap());
    let some = |address: &str, port: &str| (Some(address.to_owned()), Some(port.to_owned()));
    assert_eq!(called(bare(), &recorder, "/a.B/C").await, (None, None));
    assert_eq!(called(bare(), &recorder, "http://origin:81/a.B/C").await, some("origin", "81"));
    assert_eq!(called(aimed(), &recorder, "/a.B/C").await, some("orders.internal", "443"));
    assert_eq!(called(aimed(), &recorder, "http://origin:81/a.B/C").await, some("orders.internal", "443"));
    let named = aimed().with_server("orders", Some(50051));
    assert_eq!(called(named.clone(), &recorder, "http://origin:81/a.B/C").await, some("orders", "50051"));
    let nearby = (Some("/run/orders.sock".to_owned()), None);
    assert_eq!(called(named.with_server("/run/orders.sock", None), &recorder, "/a.B/C").await, nearby);
    // Options set after the target keep it.
    let later = aimed().with_message_metrics(true);
    assert_eq!(called(later, &recorder, "/a.B/C").await, some("orders.internal", "443"));
    assert_eq!(called(bare(), &recorder, "http://user:secret@origin/a.B/C").await, some("origin", "80"));
    assert!(!recorder.tree().contains("secret"), "{}", recorder.tree());
}

#[tokio::test]
async fn the_series_of_untrusted_hosts_have_a_bound() {
    let recorder = Recorder::new();
    let known = |layer: ClientLayer| layer.with_known_methods(["a.B/C"]).with_max_untrusted_series(10);
    let layer = known(client_layer(&recorder));
    for number in 0..30 {
        called(layer.clone(), &recorder, &format!("http://host{number}/a.B/C")).await;
    }
    let durations = || recorder.metric("rpc.client.call.duration");
    assert_eq!((durations().points().len(), durations().count()), (11, 30), "{}", recorder.metrics());
    assert_eq!(durations().with("rpc.method", "a.B/C").without("server.address").count(), 20);
    // The spans keep the host.
    for (number, span) in recorder.spans().iter().enumerate() {
        assert_eq!(attribute(span, "server.address").unwrap(), format!("host{number}"));
    }
    // A target is trusted.
    let aimed = known(client_layer(&recorder)).with_max_untrusted_series(0);
    let aimed = aimed.with_target(&"https://orders.internal".parse().unwrap());
    called(aimed, &recorder, "http://host10/a.B/C").await;
    assert_eq!(durations().with("server.address", "orders.internal").count(), 1, "{}", recorder.metrics());
}

#[tokio::test]
async fn a_known_host_keeps_its_new_series_beyond_the_bound() {
    let recorder = Recorder::new();
    let layer = client_layer(&recorder).with_known_methods(["a.B/C"]).with_max_untrusted_series(10);
    for number in 0..20 {
        called(layer.clone(), &recorder, &format!("http://host{number}/a.B/C")).await;
    }
    // Another method, and another status.
    called(layer.clone(), &recorder, "http://host0/a.B/Unknown").await;
    let failing = layer.layer(tower::service_fn(|_: Request<Body>| {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        std::future::ready(Err::<Response<Body>, _>(refused))
    }));
    let request = Request::post("http://host0/a.B/C").body(Body::empty()).unwrap();
    failing.oneshot(request).await.map(drop).unwrap_err();
    let durations = recorder.metric("rpc.client.call.duration").with("server.address", "host0");
    assert_eq!((durations.points().len(), durations.count()), (3, 3), "{}", recorder.metrics());
    assert_eq!(durations.with("error.type", "connection_refused").count(), 1);
}

#[tokio::test]
async fn the_instrumentation_says_what_it_is() {
    let recorder = Recorder::new();
    pair(&recorder).await.unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    for span in recorder.spans() {
        let scope = &span.instrumentation_scope;
        assert_eq!((scope.name(), scope.version()), ("otel-grpc", Some(env!("CARGO_PKG_VERSION"))));
        assert_eq!(scope.schema_url(), Some("https://opentelemetry.io/schemas/1.44.0"));
    }
}
