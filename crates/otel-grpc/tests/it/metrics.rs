//! Server and client metrics, rendered, and their cardinality limits.

use futures_util::stream;
use opentelemetry::trace::SpanKind;
use otel_testing::{MetricKind, Recorder};
use prost::Message;
use tonic::Code;

use crate::echo::{COLLECT, EchoClient, REPEAT, Say, TALK, UNARY, fail, messages, repeat, say};
use crate::support::{client, client_layer, drop_when, endpoint, pair, serve, server_layer, spans_of};

const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[tokio::test]
async fn the_metrics_of_both_sides_in_full() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    client.unary(say("hello")).await.unwrap();
    for code in [Code::NotFound, Code::Internal] {
        client.unary(fail(code)).await.unwrap_err();
    }
    recorder.wait_for_spans(6).await;
    let method = "rpc.method=test.Echo/Unary";
    let (rest, server) = ("rpc.system.name=grpc", "server.address=127.0.0.1, server.port=PORT");
    let status = |status| format!("rpc.response.status_code={status}");
    assert_eq!(
        recorder.metrics(),
        format!(
            "\
rpc.client.call.duration (histogram, s)
    {{error.type=INTERNAL, {method}, {}, {rest}, {server}}} count 1, sum TIME
    {{error.type=NOT_FOUND, {method}, {}, {rest}, {server}}} count 1, sum TIME
    {{{method}, {}, {rest}, {server}}} count 1, sum TIME
rpc.server.call.duration (histogram, s)
    {{error.type=INTERNAL, {method}, {}, {rest}}} count 1, sum TIME
    {{{method}, {}, {rest}}} count 1, sum TIME
    {{{method}, {}, {rest}}} count 1, sum TIME
",
            status("INTERNAL"),
            status("NOT_FOUND"),
            status("OK"),
            status("INTERNAL"),
            status("NOT_FOUND"),
            status("OK"),
        )
    );
    for side in ["client", "server"] {
        let durations = recorder.metric(&format!("rpc.{side}.call.duration"));
        assert_eq!((durations.unit(), durations.kind()), ("s", Some(MetricKind::Histogram)));
        assert!(durations.points().iter().all(|point| point.bounds() == SECONDS));
    }
}

#[tokio::test]
async fn a_span_and_its_duration_are_of_one_length() {
    let recorder = Recorder::new();
    pair(&recorder).await.unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    for (side, kind) in [("client", SpanKind::Client), ("server", SpanKind::Server)] {
        let span = &spans_of(&recorder, kind)[0];
        let length = span.end_time.duration_since(span.start_time).unwrap().as_secs_f64();
        let recorded = recorder.metric(&format!("rpc.{side}.call.duration")).sum();
        assert!((length - recorded).abs() < 1e-6, "{length} and {recorded}");
    }
}

#[tokio::test]
async fn messages_are_measured_where_that_was_asked_for() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder).with_message_metrics(true)).await;
    let client = client(&client_layer(&recorder).with_message_metrics(true), address);
    let words = ["one", "three", "eleven"];
    let some = || messages(stream::iter(words.map(say)));
    let all: usize = words.iter().map(|word| say(*word).encoded_len()).sum();
    client.unary(say("hello")).await.unwrap();
    client.collect(some()).await.unwrap();
    let mut answers = client.repeat(repeat(3, Code::Ok)).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let mut answers = client.talk(some()).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    recorder.wait_for_spans(8).await;

    let hello = say("hello").encoded_len();
    let numbers: usize = (0..3).map(|number| Say { number, ..Say::default() }.encoded_len()).sum();
    let count = Say { number: 3, ..Say::default() }.encoded_len();
    for (method, bytes, number) in [
        (UNARY, (hello, hello), (1, 1)),
        (COLLECT, (all, count), (3, 1)),
        (REPEAT, (repeat(3, Code::Ok).encoded_len(), numbers), (1, 3)),
        (TALK, (all, all), (3, 3)),
    ] {
        for side in ["client", "server"] {
            for (name, unit, value) in [
                ("request.size", "By", bytes.0),
                ("response.size", "By", bytes.1),
                ("requests_per_rpc", "{count}", number.0),
                ("responses_per_rpc", "{count}", number.1),
            ] {
                let metric = recorder.metric(&format!("rpc.{side}.{name}"));
                assert_eq!(metric.unit(), unit);
                let metric = metric.with("rpc.method", method).with("rpc.response.status_code", "OK");
                assert_eq!((metric.count(), metric.sum()), (1, value as f64), "{side} {name} of {method}");
            }
        }
    }
    assert!(recorder.spans().iter().all(|span| span.events.is_empty()), "metrics are no events");
    assert!(!recorder.tree().contains("rpc.messages"), "{}", recorder.tree());
}

#[tokio::test]
async fn messages_are_an_option() {
    let recorder = Recorder::new();
    pair(&recorder).await.unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    assert!(!recorder.metrics().contains("size"), "{}", recorder.metrics());
    assert!(!recorder.metrics().contains("per_rpc"), "{}", recorder.metrics());
}

#[tokio::test]
async fn methods_that_strangers_choose_make_one_series() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    for number in 0..50 {
        let error = client.by_hand(&format!("/test.Echo/M{number}")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented);
        client.by_hand(&format!("/test.S{number}/Unary")).await.unwrap_err();
    }
    recorder.wait_for_spans(200).await;
    for side in ["client", "server"] {
        let durations = recorder.metric(&format!("rpc.{side}.call.duration"));
        assert_eq!((durations.points().len(), durations.count()), (1, 100), "{}", recorder.metrics());
        assert_eq!(durations.with("rpc.method", "_OTHER").count(), 100);
    }
    assert!(recorder.spans().iter().all(|span| span.name == "grpc"));
}

#[tokio::test]
async fn a_panic_is_told_apart_from_the_status_that_it_has() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder).with_known_methods([UNARY]).with_message_metrics(true)).await;
    let client = EchoClient(endpoint(address).connect_lazy());
    for _ in 0..2 {
        client.unary(fail(Code::Unknown)).await.unwrap_err();
        client.unary(say("panic")).await.unwrap_err();
    }
    recorder.wait_for_spans(4).await;
    for metric in ["rpc.server.call.duration", "rpc.server.request.size"] {
        let unknown = recorder.metric(metric).with("rpc.response.status_code", "UNKNOWN");
        assert_eq!(unknown.clone().with("error.type", "UNKNOWN").count(), 2, "{}", recorder.metrics());
        assert_eq!(unknown.with("error.type", "panic").count(), 2, "{}", recorder.metrics());
    }
}

#[tokio::test]
async fn a_client_that_calls_by_hand_can_say_what_there_is() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder)).await;
    let layer = client_layer(&recorder).with_known_methods([UNARY]);
    client(&layer, address).by_hand("/test.Echo/Unary").await.unwrap();
    client(&layer, address).by_hand("/test.Echo/Collect").await.unwrap();
    recorder.wait_for_spans(4).await;
    let names: Vec<_> =
        spans_of(&recorder, SpanKind::Client).into_iter().map(|span| span.name.into_owned()).collect();
    assert_eq!(names, [UNARY, "grpc"]);
}

/// Returns the numbers of active calls and of open streams.
fn in_flight(recorder: &Recorder, side: &str) -> (f64, f64) {
    let sum = |name: &str| recorder.metric(&format!("rpc.{side}.{name}")).with("rpc.method", REPEAT).sum();
    (sum("active_calls"), sum("open_streams"))
}

#[tokio::test]
async fn active_calls_and_open_streams_are_counted_by_option() {
    let recorder = Recorder::new();
    let server = server_layer(&recorder).with_known_methods([UNARY, REPEAT]).with_active_calls(true);
    let client = client(&client_layer(&recorder).with_active_calls(true), serve(server).await);
    let mut open = Vec::new();
    for number in 1..=3 {
        let endless = Say { text: "wait".into(), ..repeat(1, Code::Ok) };
        let mut replies = client.repeat(endless).await.unwrap().into_inner();
        replies.message().await.unwrap().unwrap();
        open.push(replies);
        for side in ["server", "client"] {
            assert_eq!(in_flight(&recorder, side), (number.into(), number.into()), "{side}");
        }
    }
    // A call that waits for its response is active, and no open stream.
    drop_when(
        || recorder.metric("rpc.server.active_calls").with("rpc.method", UNARY).sum() == 1.0,
        client.unary(say("wait")),
    )
    .await;
    assert!(recorder.metric("rpc.server.open_streams").with("rpc.method", UNARY).points().is_empty());
    drop(open);
    recorder.wait_for_spans(8).await;
    for side in ["server", "client"] {
        assert_eq!(in_flight(&recorder, side), (0.0, 0.0), "{}", recorder.metrics());
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn every_end_of_a_call_ends_its_activity() {
    let recorder = Recorder::new();
    let server = server_layer(&recorder).with_known_methods([UNARY, REPEAT]).with_active_calls(true);
    let client = client(&client_layer(&recorder).with_active_calls(true), serve(server).await);
    client.unary(say("hello")).await.unwrap();
    client.unary(fail(Code::Internal)).await.unwrap_err();
    client.unary(say("panic")).await.unwrap_err();
    client.by_hand("/test.Echo/Unknown").await.unwrap_err();
    let mut replies = client.repeat(repeat(2, Code::DataLoss)).await.unwrap().into_inner();
    while let Ok(Some(_)) = replies.message().await {}
    recorder.wait_for_spans(10).await;
    recorder.assert_clean();
    let active = |side: &str| recorder.metric(&format!("rpc.{side}.active_calls"));
    for side in ["server", "client"] {
        assert_eq!((active(side).sum(), active(side).points().is_empty()), (0.0, false), "{side}");
    }
    // The request of a server's unknown method could be no call.
    assert!(active("server").with("rpc.method", "_OTHER").points().is_empty(), "{}", recorder.metrics());
    assert_eq!(active("client").with("rpc.method", "_OTHER").points().len(), 1);
}

#[tokio::test]
async fn calls_in_flight_are_an_option() {
    let recorder = Recorder::new();
    pair(&recorder).await.unary(say("hello")).await.unwrap();
    recorder.wait_for_spans(2).await;
    for name in ["active_calls", "open_streams"] {
        assert!(!recorder.metrics().contains(name), "{}", recorder.metrics());
    }
}
