//! Context that goes out with messages, and context that comes in.

use async_nats::Request;
use async_nats::client::traits::Publisher as _;
use async_nats::message::OutboundMessage;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _};
use otel_nats::Options;
use otel_propagation::{B3Propagator, CompositePropagator};
use otel_testing::Recorder;
use otel_testing::spans::without_own_span;

use crate::support::{
    LONG, bare, client, client_with, headers, inspector, listed, next, options, received, remote,
    synchronize, text, traceparent, traceparent_of, unique,
};

#[tokio::test]
async fn every_way_to_publish_writes_the_context_and_keeps_headers_payload_and_reply() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client(&recorder).await;
    let mut inspector = inspector(&subject).await;
    let own = || headers(&[("X-Own", "1"), ("X-Own", "2")]);
    let to = || subject.clone();
    let message = |headers, reply: Option<&str>| OutboundMessage {
        subject: to().into(),
        reply: reply.map(Into::into),
        payload: "p".into(),
        headers,
    };
    client.publish(to(), "p".into()).await.unwrap();
    client.publish_with_headers(to(), own(), "p".into()).await.unwrap();
    client.publish_with_reply(to(), "answers", "p".into()).await.unwrap();
    client.publish_with_reply_and_headers(to(), "answers", own(), "p".into()).await.unwrap();
    client.publish_message(message(None, None)).await.unwrap();
    client.publish_message(message(Some(own()), Some("answers"))).await.unwrap();
    for (index, (has_own, has_reply)) in
        [(false, false), (true, false), (false, true), (true, true), (false, false), (true, true)]
            .into_iter()
            .enumerate()
    {
        let message = next(&mut inspector).await;
        let span = &recorder.spans()[index];
        let list = listed(message.headers.as_ref());
        assert_eq!(text(&list, "traceparent"), Some(&*traceparent_of(span)));
        assert_eq!(list.len(), if has_own { 3 } else { 1 }, "{list:?}");
        assert_eq!(message.reply.as_deref(), has_reply.then_some("answers"));
        assert_eq!(message.payload, "p");
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn a_request_its_handler_and_the_reply_are_one_trace() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let (asking, answering) = (client(&recorder).await, client(&recorder).await);
    let mut subscriber = answering.subscribe(subject.clone()).await.unwrap();
    synchronize(answering.inner()).await;
    let answer = async {
        let message = received(&mut subscriber).await;
        let reply = message.reply.clone().unwrap();
        message
            .process(async |message| answering.publish(reply, message.payload.clone()).await)
            .await
            .unwrap();
    };
    let (reply, ()) = tokio::join!(asking.request(subject.clone(), "7".into()), answer);
    let reply = reply.unwrap();
    assert_eq!(reply.payload, "7");
    recorder.wait_for_spans(3).await;
    let [request, process] = ["request", "process"].map(|name| recorder.span(&format!("{name} {subject}")));
    let publish = recorder.span("publish _INBOX");
    assert_eq!(process.parent_span_id, request.span_context.span_id(), "{}", recorder.tree());
    assert_eq!(publish.parent_span_id, process.span_context.span_id(), "{}", recorder.tree());
    let carried = listed(reply.headers.as_ref());
    assert_eq!(text(&carried, "traceparent"), Some(&*traceparent_of(&publish)));
    recorder.assert_clean();
}

#[tokio::test]
async fn every_way_to_request_carries_the_context() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let client = client(&recorder).await;
    let responder = bare().await;
    let mut requests = responder.subscribe(subject.clone()).await.unwrap();
    synchronize(&responder).await;
    let to = || subject.clone();
    let own = || headers(&[("X-Own", "1")]);
    let request =
        || Request::new().headers(own()).payload("p".into()).inbox(client.new_inbox()).timeout(Some(LONG));
    let ask = async {
        client.request(to(), "p".into()).await.unwrap();
        client.request_with_headers(to(), own(), "p".into()).await.unwrap();
        client.send_request(to(), request()).await.unwrap();
        otel_nats::Client::send_request(&client, to(), Request::new()).await.unwrap();
        async fn through(client: &impl async_nats::client::traits::Requester, subject: String) {
            client.send_request(subject, Request::new().payload("p".into())).await.unwrap();
        }
        through(&client, to()).await;
    };
    let answer = async {
        let mut seen = Vec::new();
        for _ in 0..5 {
            let message = next(&mut requests).await;
            seen.push(listed(message.headers.as_ref()));
            responder.publish(message.reply.unwrap(), "".into()).await.unwrap();
        }
        seen
    };
    let ((), seen) = tokio::join!(ask, answer);
    let expected: Vec<_> = recorder.spans().iter().map(traceparent_of).collect();
    let sent: Vec<_> = seen.iter().map(|list| text(list, "traceparent").unwrap().to_owned()).collect();
    assert_eq!(sent, expected);
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2, 1, 1]);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_context_of_an_earlier_hop_is_replaced_in_any_case_and_linked() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client(&recorder).await;
    let mut inspector = inspector(&subject).await;
    let stale = headers(&[("TraceParent", &traceparent(9)), ("TRACESTATE", "a=1"), ("Other", "1")]);
    client.publish_with_headers(subject.clone(), stale, "p".into()).await.unwrap();
    let list = listed(next(&mut inspector).await.headers.as_ref());
    let span = recorder.span(&format!("publish {subject}"));
    let parent = traceparent_of(&span);
    assert_eq!(list, [("Other".to_owned(), "1".to_owned()), ("traceparent".to_owned(), parent)]);
    assert_eq!(span.links.len(), 1);
    assert_eq!(span.links[0].span_context.span_id(), remote(9, true).span().span_context().span_id());
}

#[tokio::test]
async fn headers_in_any_case_are_read() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let (client, other) = (client(&recorder).await, bare().await);
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    for (index, name) in ["traceparent", "Traceparent", "TRACEPARENT"].into_iter().enumerate() {
        let sent = headers(&[(name, &traceparent(7))]);
        other.publish_with_headers(subject.clone(), sent, "p".into()).await.unwrap();
        received(&mut subscriber).await.process(async |_| ()).await;
        let span = &recorder.spans()[index];
        assert_eq!(span.parent_span_id.to_string(), format!("{:016x}", 7), "{name}");
        assert_eq!(span.links.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn hostile_values_under_valid_names_do_no_harm() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let (client, other) = (client(&recorder).await, bare().await);
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    let good = traceparent(7);
    let long = "x".repeat(64 * 1024);
    for hostile in [
        headers(&[("traceparent", &good), ("traceparent", &traceparent(8))]),
        headers(&[("traceparent", "")]),
        headers(&[("traceparent", "\u{7f}\t\u{1}ä\u{202e}")]),
        headers(&[("traceparent", &format!("{good}-"))]),
        headers(&[("traceparent", &long), ("tracestate", &long), ("baggage", &long)]),
    ] {
        let before = recorder.spans().len();
        other.publish_with_headers(subject.clone(), hostile.clone(), "p".into()).await.unwrap();
        let message = received(&mut subscriber).await;
        message.process(async |message| assert_eq!(message.payload, "p")).await;
        let span = &recorder.spans()[before];
        assert!(!span.parent_span_is_remote && span.links.is_empty(), "{span:?}");
        // A message that is forwarded with them gets a context of its own.
        let forwarded = message.into_inner().headers.unwrap();
        client.publish_with_headers(unique("nobody"), forwarded, "p".into()).await.unwrap();
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn where_the_span_is_not_the_operations_own_a_message_keeps_its_authors_headers() {
    let without_sdk = Options::new().with_propagator(CompositePropagator::default());
    for (options, current) in without_own_span(without_sdk, options) {
        let (client, subject) = (client_with(options).await, unique("orders"));
        let mut inspector = inspector(&subject).await;
        let parent = traceparent(9);
        let own = [("baggage", "k=v"), ("traceparent", &*parent), ("tracestate", "a=1"), ("x", "1")];
        client.publish_with_headers(subject, headers(&own), "p".into()).with_context(current).await.unwrap();
        let expected = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(listed(next(&mut inspector).await.headers.as_ref()), expected);
    }
}

#[tokio::test]
async fn a_message_that_has_nothing_to_carry_stays_without_headers() {
    let (client, subject) = (client_with(Options::new()).await, unique("orders"));
    let mut inspector = inspector(&subject).await;
    client.publish(subject, "p".into()).await.unwrap();
    assert_eq!(next(&mut inspector).await.headers, None);
}

#[tokio::test]
async fn a_subject_that_is_left_out_carries_the_current_context_on() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client_with(options(&recorder).with_filter(|_| false)).await;
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    client.publish(subject, "p".into()).with_context(remote(7, true)).await.unwrap();
    let message = received(&mut subscriber).await;
    assert_eq!(text(&listed(message.headers.as_ref()), "traceparent"), Some(&*traceparent(7)));
    let inside = message.process(async |_| {
        assert_eq!(Context::current().span().span_context(), remote(7, true).span().span_context());
    });
    inside.await;
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
}

#[tokio::test]
async fn headers_of_b3_are_written_in_lower_case() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let b3 = CompositePropagator::empty().with_b3(B3Propagator::multi());
    let client = client_with(options(&recorder).with_propagator(b3)).await;
    let mut inspector = inspector(&subject).await;
    let stale = headers(&[("X-B3-TraceId", "stale"), ("B3", "stale")]);
    client.publish_with_headers(subject, stale, "p".into()).await.unwrap();
    let span = recorder.spans().remove(0).span_context;
    let expected = [
        ("x-b3-sampled", "1".to_owned()),
        ("x-b3-spanid", span.span_id().to_string()),
        ("x-b3-traceid", span.trace_id().to_string()),
    ];
    let list = listed(next(&mut inspector).await.headers.as_ref());
    assert_eq!(list, expected.map(|(name, value)| (name.to_owned(), value)));
}
