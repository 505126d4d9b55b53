//! The outbound side of the client: publishing and requests.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans".

use std::pin::pin;

use async_nats::client::{Request, traits};
use async_nats::subject::ToSubject;
use async_nats::{HeaderMap, PublishError, RequestError, Subject};
use bytes::Bytes;
use opentelemetry::Context;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{HeaderBudget, MessagingOperation, OperationBuilder};

use crate::attributes::{SubjectKind, of_message};
use crate::carrier::{OutboundHeaders, PER_HEADER, budget};
use crate::client::Client;
use crate::outcome;

/// The client's names for sending.
pub(crate) const PUBLISH: &str = "publish";
const REQUEST: &str = "request";

impl Client {
    /// Publishes a message, inside a `publish` span. The span ends when the message is in the client's queue, because the
    /// server confirms no message of core NATS.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    ///
    /// ```
    /// use async_nats::PublishError;
    ///
    /// async fn send(client: &otel_nats::Client) -> Result<(), PublishError> {
    ///     client.publish("orders.created", "one book".into()).await
    /// }
    /// ```
    pub async fn publish<S: ToSubject>(&self, subject: S, payload: Bytes) -> Result<(), PublishError> {
        self.send(subject.to_subject(), None, None, payload).await
    }

    /// Publishes a message with headers, as [`publish`](Self::publish) does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn publish_with_headers<S: ToSubject>(
        &self,
        subject: S,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.send(subject.to_subject(), None, Some(headers), payload).await
    }

    /// Publishes a message with a subject for replies, as [`publish`](Self::publish) does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn publish_with_reply<S: ToSubject, R: ToSubject>(
        &self,
        subject: S,
        reply: R,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.send(subject.to_subject(), Some(reply.to_subject()), None, payload).await
    }

    /// Publishes a message with headers and a subject for replies, as [`publish`](Self::publish) does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn publish_with_reply_and_headers<S: ToSubject, R: ToSubject>(
        &self,
        subject: S,
        reply: R,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.send(subject.to_subject(), Some(reply.to_subject()), Some(headers), payload).await
    }

    /// Sends a request and waits for the reply, inside a `request` span. Its `error.type` is `NoResponders` or `TimedOut`
    /// if there is none, and the code of the error if the reply of a service describes one.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn request<S: ToSubject>(
        &self,
        subject: S,
        payload: Bytes,
    ) -> Result<async_nats::Message, RequestError> {
        self.send_request(subject, Request::new().payload(payload)).await
    }

    /// Sends a request with headers, as [`request`](Self::request) does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn request_with_headers<S: ToSubject>(
        &self,
        subject: S,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<async_nats::Message, RequestError> {
        self.send_request(subject, Request::new().headers(headers).payload(payload)).await
    }

    /// Sends a request with a timeout or an inbox of its own, as [`request`](Self::request) does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn send_request<S: ToSubject>(
        &self,
        subject: S,
        mut request: Request,
    ) -> Result<async_nats::Message, RequestError> {
        let subject = subject.to_subject();
        if self.nats.messaging().is_idle() {
            return self.inner.send_request(subject, request).await;
        }
        let (headers, payload) = (request.headers.take(), request.payload.clone().unwrap_or_default());
        let (operation, headers) = self.start(REQUEST, None, &subject, headers, &payload);
        request.headers = headers;
        let reply = pin!(self.inner.send_request(subject, request));
        operation.run_with(reply, outcome::of_reply).await
    }

    async fn send(
        &self,
        subject: Subject,
        reply: Option<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        if self.nats.messaging().is_idle() {
            return self.publish_bare(subject, reply, headers, payload).await;
        }
        let (operation, headers) = self.start(PUBLISH, None, &subject, headers, &payload);
        // Pinned here, because a future that is passed on is copied.
        let publish = pin!(self.publish_bare(subject, reply, headers, payload));
        operation.run_with(publish, outcome::of_result).await
    }

    async fn publish_bare(
        &self,
        subject: Subject,
        reply: Option<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let client = &self.inner;
        match (reply, headers) {
            (None, None) => client.publish(subject, payload).await,
            (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), Some(headers)) => {
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        }
    }

    /// Starts the operation of sending a message, and returns its headers with the context in them.
    pub(crate) fn start(
        &self,
        name: &'static str,
        error_if_dropped: Option<&'static str>,
        subject: &Subject,
        headers: Option<HeaderMap>,
        payload: &[u8],
    ) -> (MessagingOperation, Option<HeaderMap>) {
        if let Some(operation) = self.nats.messaging().idle_operation() {
            return (operation, headers);
        }
        let (destination, kind) = self.nats.destination(subject, "");
        let send = match name {
            REQUEST => destination.request(name),
            _ => destination.send(name),
        };
        let send = match error_if_dropped {
            Some(error) => send.with_error_if_dropped(error),
            None => send,
        };
        self.start_outbound(send, kind, subject, headers, payload, self.max_payload())
    }

    /// Starts the operation of sending a message of at most `max_size` bytes, as [`start`](Self::start) does, from its
    /// builder.
    pub(crate) fn start_outbound(
        &self,
        send: OperationBuilder<'_>,
        kind: SubjectKind,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: &[u8],
        max_size: usize,
    ) -> (MessagingOperation, Option<HeaderMap>) {
        let left = budget(headers.as_ref(), payload.len(), max_size);
        let mut message = OutboundMessage { subject, kind, headers: OutboundHeaders(headers), payload };
        let budget = HeaderBudget::bytes(left.unwrap_or_default(), PER_HEADER);
        let operation = send.start_outbound(&Context::current(), &mut message, budget);
        // A message that is too large without the context fails, and is not sent without it.
        if operation.is_context_dropped() && left.is_some() {
            self.nats.count_context_dropped();
        }
        (operation, message.headers.0)
    }
}

struct OutboundMessage<'m> {
    subject: &'m str,
    kind: SubjectKind,
    headers: OutboundHeaders,
    payload: &'m [u8],
}

impl otel_messaging::OutboundMessage for OutboundMessage<'_> {
    type Headers = OutboundHeaders;

    fn headers(&self) -> Option<&OutboundHeaders> {
        self.headers.0.is_some().then_some(&self.headers)
    }

    fn headers_mut(&mut self) -> &mut OutboundHeaders {
        &mut self.headers
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        of_message(attributes, self.kind, self.subject, self.headers.0.as_ref(), self.payload);
    }
}

impl traits::Publisher for Client {
    async fn publish_with_reply<S: ToSubject, R: ToSubject>(
        &self,
        subject: S,
        reply: R,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.send(subject.to_subject(), Some(reply.to_subject()), None, payload).await
    }

    async fn publish_message(
        &self,
        message: async_nats::message::OutboundMessage,
    ) -> Result<(), PublishError> {
        self.send(message.subject, message.reply, message.headers, message.payload).await
    }
}

impl traits::Requester for Client {
    async fn send_request<S: ToSubject>(
        &self,
        subject: S,
        request: Request,
    ) -> Result<async_nats::Message, RequestError> {
        Client::send_request(self, subject, request).await
    }
}
