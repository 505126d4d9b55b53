//! Streams: the recording of their messages, their current context, and the end of their spans.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;
use otel_grpc::MessageEvents;
use otel_testing::Recorder;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, ServiceExt};

use crate::echo::{COLLECT, REPEAT, Say, TALK, UNARY, messages, repeat, say};
use crate::support::{assert_call, attribute, client, client_layer, pair, serve, server_layer, spans_of};

/// Returns the events of a span, as directions, numbers and sizes.
fn events(span: &SpanData) -> Vec<String> {
    let events = span.events.iter().map(|event| {
        assert_eq!(event.name, "rpc.message");
        let value = |key: &str| {
            let found = event.attributes.iter().find(|kv| kv.key.as_str() == key);
            found.map(|kv| kv.value.to_string())
        };
        let size = value("rpc.message.uncompressed_size")
            .or_else(|| value("rpc.message.compressed_size").map(|size| format!("{size} compressed")));
        let words = [value("rpc.message.type"), value("rpc.message.id"), size];
        words.map(Option::unwrap).join(" ")
    });
    events.collect()
}

/// Makes one call of each kind, with three messages per stream.
async fn calls(recorder: &Recorder, told: MessageEvents, most: u32) {
    let server = server_layer(recorder).with_message_events(told).with_max_message_events(most);
    let layer = client_layer(recorder).with_message_events(told).with_max_message_events(most);
    let client = client(&layer, serve(server).await);
    let some = || messages(stream::iter(["one", "three", "eleven"].map(say)));
    client.unary(say("hello")).await.unwrap();
    client.collect(some()).await.unwrap();
    let mut answers = client.repeat(repeat(3, Code::Ok)).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let mut answers = client.talk(some()).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    recorder.wait_for_spans(8).await;
    recorder.assert_clean();
}

fn named(recorder: &Recorder, kind: SpanKind, name: &str) -> SpanData {
    spans_of(recorder, kind).into_iter().find(|span| span.name == name).unwrap()
}

#[tokio::test]
async fn each_message_is_an_event_where_that_was_asked_for() {
    let recorder = Recorder::new();
    calls(&recorder, MessageEvents::Each, 128).await;
    let some = ["one", "three", "eleven"].map(|word| say(word).encoded_len());
    let numbers = [0, 1, 2].map(|number| Say { number, ..Say::default() }.encoded_len());
    let hello = say("hello").encoded_len();
    let asked = repeat(3, Code::Ok).encoded_len();
    let count = Say { number: 3, ..Say::default() }.encoded_len();
    for (name, requests, responses) in [
        (UNARY, &[hello][..], &[hello][..]),
        (COLLECT, &some[..], &[count][..]),
        (REPEAT, &[asked][..], &numbers[..]),
        (TALK, &some[..], &some[..]),
    ] {
        for (kind, out, back) in
            [(SpanKind::Client, "SENT", "RECEIVED"), (SpanKind::Server, "RECEIVED", "SENT")]
        {
            let span = named(&recorder, kind.clone(), name);
            let mut told = events(&span);
            let expected = |direction: &'static str, sizes: &[usize]| {
                let sizes = sizes.iter().zip(1..).map(|(size, id)| format!("{direction} {id} {size}"));
                sizes.collect::<Vec<_>>()
            };
            let (requests, responses) = (expected(out, requests), expected(back, responses));
            // In a bidirectional stream only the messages of one direction are ordered.
            told.sort_by_key(|event| event.starts_with(back));
            assert_eq!(told, [&requests[..], &responses[..]].concat(), "{kind:?} {name}");
            let number = |key| attribute(&span, key).unwrap().parse::<usize>().unwrap();
            let (sent, received) =
                if out == "SENT" { (&requests, &responses) } else { (&responses, &requests) };
            assert_eq!(number("rpc.messages.sent"), sent.len());
            assert_eq!(number("rpc.messages.received"), received.len());
        }
    }
}

#[tokio::test]
async fn there_are_no_more_events_than_the_maximum() {
    let recorder = Recorder::new();
    calls(&recorder, MessageEvents::Each, 2).await;
    for kind in [SpanKind::Client, SpanKind::Server] {
        let span = named(&recorder, kind, TALK);
        assert_eq!(events(&span).len(), 2);
        assert_eq!(attribute(&span, "rpc.messages.sent").unwrap(), "3", "all are counted");
    }
}

#[tokio::test]
async fn messages_are_counted_or_not_told_at_all() {
    for (told, sent) in [(MessageEvents::Counted, Some("3")), (MessageEvents::Off, None)] {
        let recorder = Recorder::new();
        calls(&recorder, told, 128).await;
        for kind in [SpanKind::Client, SpanKind::Server] {
            let span = named(&recorder, kind, TALK);
            assert!(events(&span).is_empty());
            assert_eq!(attribute(&span, "rpc.messages.sent").as_deref(), sent);
            assert_eq!(attribute(&span, "rpc.messages.received").as_deref(), sent);
        }
        assert!(!recorder.metrics().contains("per_rpc"), "events are no metrics");
    }
}

#[tokio::test]
async fn a_message_that_comes_in_many_frames_is_one() {
    let recorder = Recorder::new();
    let address = serve(server_layer(&recorder).with_message_events(MessageEvents::Each)).await;
    let client = client(&client_layer(&recorder).with_message_events(MessageEvents::Each), address);
    let large = say("x".repeat(300_000));
    let size = large.encoded_len();
    client.unary(large).await.unwrap();
    recorder.wait_for_spans(2).await;
    let told = |kind| events(&spans_of(&recorder, kind)[0]);
    assert_eq!(told(SpanKind::Client), [format!("SENT 1 {size}"), format!("RECEIVED 1 {size}")]);
    assert_eq!(told(SpanKind::Server), [format!("RECEIVED 1 {size}"), format!("SENT 1 {size}")]);
}

#[tokio::test]
async fn a_compressed_message_tells_its_compressed_size() {
    let recorder = Recorder::new();
    let wire = Bytes::from_static(b"\x01\0\0\0\x03abc\0\0\0\0\x01x");
    let server = tower::service_fn(move |request: Request<Body>| {
        let wire = wire.clone();
        async move {
            request.into_body().collect().await.unwrap();
            Ok::<_, Infallible>(Response::new(Body::new(Full::new(wire))))
        }
    });
    let client = client_layer(&recorder).with_message_events(MessageEvents::Each).layer(server);
    let body = Body::new(Full::new(Bytes::from_static(b"\x01\0\0\0\x01z")));
    let response = client.oneshot(Request::post("/a.B/C").body(body).unwrap()).await.unwrap();
    response.into_body().collect().await.unwrap();
    let span = recorder.span("grpc");
    assert_eq!(events(&span), ["SENT 1 1 compressed", "RECEIVED 1 3 compressed", "RECEIVED 2 1"]);
}

#[tokio::test]
async fn the_calls_context_is_current_inside_of_its_streams() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let asked = Say { text: "context".into(), ..repeat(3, Code::Ok) };
    let answers = client.repeat(asked).await.unwrap().into_inner();
    let mut seen: Vec<_> = answers.map(|answer| answer.unwrap().text).collect().await;
    let asked = stream::iter(["context", "context"].map(say));
    let answers = client.talk(messages(asked)).await.unwrap().into_inner();
    seen.extend(answers.map(|answer| answer.unwrap().text).collect::<Vec<_>>().await);
    recorder.wait_for_spans(4).await;
    let own = |name| {
        let span = named(&recorder, SpanKind::Server, name).span_context;
        format!("{} {} ", span.trace_id(), span.span_id())
    };
    let (repeat, talk) = (own(REPEAT), own(TALK));
    assert_eq!(seen, [&repeat, &repeat, &repeat, &talk, &talk].map(String::as_str));
}

#[tokio::test]
async fn a_stream_is_recorded_when_it_ends_and_not_before() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let (words, said) = mpsc::channel(1);
    words.send(say("first")).await.unwrap();
    let begun = Instant::now();
    let mut answers = client.talk(messages(ReceiverStream::new(said))).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(recorder.spans().is_empty(), "{}", recorder.tree());
    assert_eq!(recorder.metrics(), "");
    words.send(say("last")).await.unwrap();
    answers.next().await.unwrap().unwrap();
    drop(words);
    assert!(answers.next().await.is_none());
    let most = begun.elapsed().as_secs_f64();
    assert_call(&recorder, "OK", "OK").await;
    for side in ["client", "server"] {
        let length = recorder.metric(&format!("rpc.{side}.call.duration")).sum();
        assert!(length >= 0.06, "{side}: {length}");
    }
    assert!(recorder.metric("rpc.client.call.duration").sum() <= most);
}

#[tokio::test]
async fn a_stream_that_is_held_past_its_end_has_ended() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let mut answers = client.repeat(repeat(1, Code::Ok)).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    assert_call(&recorder, "OK", "OK").await;
    drop(answers);
    assert_call(&recorder, "OK", "OK").await;
}

#[tokio::test]
async fn a_stream_that_is_forgotten_stays_open_until_it_is_let_go() {
    let recorder = Recorder::new();
    let client = pair(&recorder).await;
    let mut answers = client.repeat(repeat(2, Code::Ok)).await.unwrap().into_inner();
    for _ in 0..2 {
        answers.next().await.unwrap().unwrap();
    }
    // The server has finished, but the client has not read the trailers.
    recorder.wait_for_spans(1).await;
    assert!(spans_of(&recorder, SpanKind::Client).is_empty(), "{}", recorder.tree());
    drop(answers);
    recorder.wait_for_spans(2).await;
    recorder.assert_clean();
    let ends = ["OK", "CANCELLED"].map(String::from);
    let client = spans_of(&recorder, SpanKind::Client).remove(0);
    assert!(ends.contains(&attribute(&client, "rpc.response.status_code").unwrap()));
}
