//! Services: endpoints, their requests and responses, and the requester's view of them.

use async_nats::service::error;
use futures_util::StreamExt as _;
use otel_nats::Client;
use otel_nats::service::{Endpoint, Request, Service};
use otel_testing::Recorder;

use crate::support::{
    LONG, attribute, client, client_with, error_type, headers, inspector, listed, next, options, synchronize,
    text, unique,
};

async fn received(endpoint: &mut Endpoint) -> Request {
    tokio::time::timeout(LONG, endpoint.next()).await.unwrap().unwrap()
}

/// A service with an endpoint `SUBJECT.books`, which the server knows. The endpoint ends with the service.
async fn endpoint(client: &Client, subject: &str) -> (Service, Endpoint) {
    let service = client.service_builder().start("shop", "1.0.0").await.unwrap();
    let endpoint = service.group(subject).endpoint("books").await.unwrap();
    synchronize(client.inner()).await;
    (service, endpoint)
}

fn gone() -> error::Error {
    error::Error { status: "no such book".to_owned(), code: 404 }
}

#[tokio::test]
async fn a_request_is_processed_in_the_requesters_trace_and_so_is_its_response() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let client = client_with(options(&recorder).with_receive_spans(true)).await;
    let (_service, mut endpoint) = endpoint(&client, &subject).await;
    let answer = async {
        let request = received(&mut endpoint).await;
        request.process(async |request| request.respond(Ok("7".into())).await).await.unwrap();
        request.message.reply.clone().unwrap().to_string()
    };
    let (reply, inbox) = tokio::join!(client.request(format!("{subject}.books"), "".into()), answer);
    assert_eq!(reply.unwrap().payload, "7");
    recorder.wait_for_spans(4).await;
    let expected = "\
CLIENT request prices.books  #1
│   messaging.destination.name: prices.books
│   messaging.operation.name: request
│   messaging.operation.type: send
│   messaging.system: nats
└── CONSUMER process prices.books  ⇠ remote
    │   messaging.consumer.group.name: q
    │   messaging.destination.name: prices.books
    │   messaging.operation.name: process
    │   messaging.operation.type: process
    │   messaging.system: nats
    │   link → #1
    └── PRODUCER publish _INBOX
            messaging.destination.name: INBOX
            messaging.destination.template: _INBOX
            messaging.destination.temporary: true
            messaging.operation.name: publish
            messaging.operation.type: send
            messaging.system: nats
CLIENT receive prices.books
    messaging.consumer.group.name: q
    messaging.destination.name: prices.books
    messaging.operation.name: receive
    messaging.operation.type: receive
    messaging.system: nats
    link → #1
";
    assert_eq!(recorder.tree().replace(&subject, "prices").replace(&inbox, "INBOX"), expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn an_error_in_the_response_is_the_failure_of_processing_and_of_the_request() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let client = client(&recorder).await;
    let (_service, mut endpoint) = endpoint(&client, &subject).await;
    let answer = async {
        let own = headers(&[("X-Own", "1")]);
        let request = received(&mut endpoint).await;
        let handled = tokio::spawn(async move {
            request.process(async |request| request.respond_with_headers(Err(gone()), own).await).await
        });
        handled.await.unwrap().unwrap();
    };
    let (reply, ()) = tokio::join!(client.request(format!("{subject}.books"), "".into()), answer);
    // As async-nats has it, an error of the service is a reply.
    let list = listed(reply.unwrap().headers.as_ref());
    assert_eq!(text(&list, "Nats-Service-Error"), Some("no such book"));
    assert_eq!(text(&list, "Nats-Service-Error-Code"), Some("404"));
    assert_eq!(text(&list, "X-Own"), Some("1"));
    recorder.wait_for_spans(3).await;
    for name in ["process", "request"] {
        let span = recorder.span(&format!("{name} {subject}.books"));
        assert_eq!(error_type(&span).as_deref(), Some("404"), "{name}");
        assert_eq!(span.status, opentelemetry::trace::Status::error("no such book"));
    }
    let publish = recorder.span("publish _INBOX");
    assert_eq!(error_type(&publish), None, "the response itself was sent");
    assert!(text(&list, "traceparent").unwrap().contains(&publish.span_context.span_id().to_string()));
    recorder.assert_clean();
}

#[tokio::test]
async fn statistics_names_and_queue_groups_are_those_of_async_nats() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let client = client(&recorder).await;
    let builder = client.service_builder().description("a shop").queue_group("till");
    let mut service = builder
        .metadata([("k".to_owned(), "v".to_owned())].into())
        .stats_handler(|endpoint, _| endpoint.into())
        .start("shop", "1.0.0")
        .await
        .unwrap();
    assert_eq!(service.info().await.description, "a shop");
    let nested = service.group(&subject).group_with_queue_group("v1", "late");
    let mut wild = nested.endpoint_builder().name("wild").add("*").await.unwrap();
    let other = service.group(&subject).group("v2").endpoint_builder().queue_group("own");
    let mut other = other.metadata([].into()).add("a").await.unwrap();
    let mut plain = service.endpoint(format!("{subject}.plain")).await.unwrap();
    synchronize(client.inner()).await;
    for (endpoint, asked, name, group) in [
        (&mut wild, "v1.books", "v1.*", "late"),
        (&mut other, "v2.a", "v2.a", "own"),
        (&mut plain, "plain", "plain", "till"),
    ] {
        let answer = async {
            let request = received(endpoint).await;
            request.process(async |request| request.respond(Err(gone())).await).await.unwrap();
        };
        let (reply, ()) = tokio::join!(client.request(format!("{subject}.{asked}"), "".into()), answer);
        reply.unwrap();
        let process = recorder.span(&format!("process {subject}.{name}"));
        assert_eq!(attribute(&process, "messaging.consumer.group.name").as_deref(), Some(group));
    }
    let stats = service.stats().await;
    assert_eq!((stats.len(), stats["wild"].requests, stats["wild"].errors), (3, 1, 1));
    service.reset().await;
    assert_eq!(service.stats().await["wild"].requests, 0);
    plain.stop().await.unwrap();
    assert!(tokio::time::timeout(LONG, plain.next()).await.unwrap().is_none());
    service.stop().await.unwrap();
    assert!(tokio::time::timeout(LONG, wild.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_subject_for_replies_names_no_span_and_no_series() {
    let (recorder, subject, chosen) = (Recorder::new(), unique("prices"), unique("chosen"));
    let client = client(&recorder).await;
    let (_service, mut endpoint) = endpoint(&client, &subject).await;
    let mut replies = inspector(&chosen).await;
    let requester = client.inner().clone();
    requester.publish_with_reply(format!("{subject}.books"), chosen.clone(), "".into()).await.unwrap();
    received(&mut endpoint).await.respond(Ok("7".into())).await.unwrap();
    assert_eq!(next(&mut replies).await.payload, "7");
    let publish = recorder.span("publish _INBOX");
    assert_eq!(attribute(&publish, "messaging.destination.name").as_deref(), Some(&*chosen));
    assert!(!recorder.metrics().contains(&chosen), "{}", recorder.metrics());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_request_without_a_subject_for_replies_is_refused_as_async_nats_does() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let client = client(&recorder).await;
    let (_service, mut endpoint) = endpoint(&client, &subject).await;
    client.publish(format!("{subject}.books"), "".into()).await.unwrap();
    let request = received(&mut endpoint).await;
    let error = request.process(async |request| request.respond(Err(gone())).await).await.unwrap_err();
    assert_eq!(error.kind(), async_nats::PublishErrorKind::InvalidSubject);
    let process = recorder.span(&format!("process {subject}.books"));
    // No response has described the error to anyone.
    assert_eq!(error_type(&process), Some(std::any::type_name_of_val(&error).to_owned()));
    recorder.assert_clean();
}

#[tokio::test]
async fn the_context_of_a_response_counts_towards_its_size() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let client = client(&recorder).await;
    let (_service, mut endpoint) = endpoint(&client, &subject).await;
    let largest = "p".repeat(client.max_payload());
    let answer = async {
        let request = received(&mut endpoint).await;
        let largest = largest.clone().into();
        request.process(async |request| request.respond(Ok(largest)).await).await.unwrap();
    };
    let (reply, ()) = tokio::join!(client.request(format!("{subject}.books"), "".into()), answer);
    let reply = reply.unwrap();
    assert_eq!((reply.payload.len(), reply.headers), (largest.len(), None));
    assert_eq!(recorder.metric("messaging.nats.context.left_out").sum(), 1.0);
}
