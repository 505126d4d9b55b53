//! The measured clients: async-nats with a header written by hand, and otel-nats.

use async_nats::HeaderMap;
use benchmarks::messages::Variant;
use bytes::Bytes;
use futures_util::StreamExt as _;

pub(crate) const SUBJECT: &str = "orders";

/// A measured client.
pub(crate) trait Measured {
    type Subscriber;

    async fn publish(&self, variant: Variant, payload: Bytes);

    async fn request(&self, variant: Variant, payload: Bytes);

    async fn subscribe(&self, subject: String) -> Self::Subscriber;

    /// Receives a message and processes it.
    async fn process(&self, subscriber: &mut Self::Subscriber);
}

/// Returns headers with the context that the variant has, written by hand.
pub(crate) fn headers(variant: Variant) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", variant.by_hand()?);
    Some(headers)
}

impl Measured for async_nats::Client {
    type Subscriber = async_nats::Subscriber;

    async fn publish(&self, variant: Variant, payload: Bytes) {
        let sent = match headers(variant) {
            Some(headers) => self.publish_with_headers(SUBJECT, headers, payload).await,
            None => self.publish(SUBJECT, payload).await,
        };
        sent.expect("the message is queued");
    }

    async fn request(&self, variant: Variant, payload: Bytes) {
        let reply = match headers(variant) {
            Some(headers) => self.request_with_headers(SUBJECT, headers, payload).await,
            None => self.request(SUBJECT, payload).await,
        };
        reply.expect("the request is answered");
    }

    async fn subscribe(&self, subject: String) -> Self::Subscriber {
        self.subscribe(subject).await.expect("the subscription is sent")
    }

    async fn process(&self, subscriber: &mut Self::Subscriber) {
        let message = subscriber.next().await.expect("a message is received");
        assert_eq!(message.payload.len(), 100);
    }
}

impl Measured for otel_nats::Client {
    type Subscriber = otel_nats::Subscriber;

    async fn publish(&self, _variant: Variant, payload: Bytes) {
        self.publish(SUBJECT, payload).await.expect("the message is queued");
    }

    async fn request(&self, _variant: Variant, payload: Bytes) {
        self.request(SUBJECT, payload).await.expect("the request is answered");
    }

    async fn subscribe(&self, subject: String) -> Self::Subscriber {
        self.subscribe(subject).await.expect("the subscription is sent")
    }

    async fn process(&self, subscriber: &mut Self::Subscriber) {
        let message = subscriber.next().await.expect("a message is received");
        message.process(async |message| assert_eq!(message.payload.len(), 100)).await;
    }
}
