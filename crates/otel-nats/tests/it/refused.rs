//! Messages that the client or the server does not accept, and requests without a reply.

use std::time::Duration;

use async_nats::{PublishErrorKind, Request, RequestErrorKind};
use otel_testing::Recorder;

use crate::support::{bare, client, error_type, headers, inspector, listed, next, synchronize, text, unique};

#[tokio::test]
async fn a_message_that_our_headers_make_too_large_arrives_bare_and_is_counted() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client(&recorder).await;
    let mut inspector = inspector(&subject).await;
    // The frame of 12 bytes, and one line: the name, the value, and 4 bytes.
    let line = 12 + "traceparent".len() + 55 + 4;
    let own = || headers(&[("A", "1")]);
    for (size, headers, arrives) in [
        (client.max_payload() - line, None, true),
        (client.max_payload() - line + 1, None, false),
        (client.max_payload(), None, false),
        (client.max_payload() - line - 6, Some(own()), true),
        (client.max_payload() - line - 5, Some(own()), false),
        (client.max_payload() - 18, Some(own()), false),
    ] {
        let payload = "p".repeat(size);
        let has_own = headers.is_some();
        match headers {
            None => client.publish(subject.clone(), payload.into()).await.unwrap(),
            Some(headers) => {
                client.publish_with_headers(subject.clone(), headers, payload.into()).await.unwrap();
            }
        }
        let message = next(&mut inspector).await;
        let list = listed(message.headers.as_ref());
        assert_eq!(message.payload.len(), size);
        assert_eq!(text(&list, "traceparent").is_some(), arrives, "{size}");
        assert_eq!(text(&list, "A").is_some(), has_own, "{size}");
    }
    assert_eq!(recorder.metric("messaging.nats.context.left_out").sum(), 4.0);
    assert_eq!(recorder.spans().iter().filter_map(error_type).count(), 0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_message_that_is_too_large_by_itself_fails_as_without_instrumentation() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let (client, other) = (client(&recorder).await, bare().await);
    let payload = "p".repeat(client.max_payload() + 1);
    let error = client.publish(subject.clone(), payload.clone().into()).await.unwrap_err();
    let without = other.publish(subject.clone(), payload.clone().into()).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::MaxPayloadExceeded);
    assert_eq!(error.to_string(), without.to_string());
    let error = client.request(subject.clone(), payload.into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::MaxPayloadExceeded);
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["MaxPayloadExceeded", "MaxPayloadExceeded"]);
    assert!(!recorder.metrics().contains("context.left_out"), "{}", recorder.metrics());
}

#[tokio::test]
async fn an_invalid_subject_fails_as_without_instrumentation() {
    let recorder = Recorder::new();
    let (client, other) = (client(&recorder).await, bare().await);
    for subject in ["", "two words", "a\r\nb"] {
        let error = client.publish(subject, "p".into()).await.unwrap_err();
        let without = other.publish(subject, "p".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (without.kind(), without.to_string()));
    }
    for subject in ["a..b", ""] {
        let error = client.subscribe(subject).await.unwrap_err();
        assert_eq!(error.to_string(), other.subscribe(subject).await.unwrap_err().to_string());
        let error = client.queue_subscribe(subject, "g".to_owned()).await.unwrap_err();
        let without = other.queue_subscribe(subject, "g".to_owned()).await.unwrap_err();
        assert_eq!(error.to_string(), without.to_string());
    }
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["InvalidSubject"; 3]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_request_without_a_reply_says_why() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let (client, silent) = (client(&recorder).await, bare().await);
    let error = client.request(subject.clone(), "p".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
    let _silent = silent.subscribe(subject.clone()).await.unwrap();
    synchronize(&silent).await;
    let request = Request::new().payload("p".into()).timeout(Some(Duration::from_millis(20)));
    let error = client.send_request(subject.clone(), request).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::TimedOut);
    let errors: Vec<_> = recorder.spans().iter().filter_map(error_type).collect();
    assert_eq!(errors, ["NoResponders", "TimedOut"]);
    recorder.assert_clean();
}
