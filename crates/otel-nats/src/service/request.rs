//! A request to an endpoint, and its response.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::ops::Deref;
use std::sync::OnceLock;

use async_nats::service as bare;
use async_nats::service::error;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{HeaderMap, HeaderValue, PublishError};
use bytes::Bytes;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, InboundMessage, MessagingOperation, record_received,
    start_processing,
};
use otel_operation::{Outcome, StartTime};
use otel_propagation::HeaderReader;

use crate::attributes::{INBOX, SubjectKind, of_message};
use crate::carrier::HeaderExtractor;
use crate::client::Client;
use crate::consumer::RECEIVE;
use crate::outcome;
use crate::producer::PUBLISH;

/// async-nats' service `Request`, to which it dereferences, with methods that record processing and the response.
#[derive(Debug)]
pub struct Request {
    inner: bare::Request,
    client: Client,
    destination: Destination,
    kind: SubjectKind,
    carried: CarriedContext,
    /// The failure that the first response with an error describes.
    failure: OnceLock<Outcome>,
}

impl Request {
    pub(super) fn received(
        inner: bare::Request,
        client: Client,
        destination: Destination,
        kind: SubjectKind,
        wait: Option<StartTime>,
    ) -> Self {
        let (carried, failure) = (CarriedContext::new(), OnceLock::new());
        let request = Self { inner, client, destination, kind, carried, failure };
        record_received(&request, RECEIVE, wait);
        request
    }

    /// Runs `handler` on the request inside a `process` span, whose context is current in the handler.
    ///
    /// The span ends with the error of the response, if the handler has sent one: `error.type` is its code and the status
    /// description its text. Otherwise it ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled`
    /// if this future is dropped, or as `panic` if the handler panics.
    pub async fn process<T: HandlerOutcome>(&self, handler: impl AsyncFnOnce(&Self) -> T) -> T {
        let outcome = |output: &T| self.failure.get().cloned().unwrap_or_else(|| output.outcome());
        self.processing().run_with(async { handler(self).await }, outcome).await
    }

    /// Starts the `process` span of the request, for handlers that are not closures or not async. Its outcome is the one
    /// with which it is finished, also after a response with an error.
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }

    /// Sends the response, inside a `publish` span.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn respond(&self, response: Result<Bytes, error::Error>) -> Result<(), PublishError> {
        self.respond_with_headers(response, HeaderMap::new()).await
    }

    /// Sends the response with headers, inside a `publish` span.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn respond_with_headers(
        &self,
        response: Result<Bytes, error::Error>,
        mut headers: HeaderMap,
    ) -> Result<(), PublishError> {
        let Some(reply) = &self.inner.message.reply else {
            // The client refuses it, because it has no subject to respond to.
            return self.inner.respond_with_headers(response, headers).await;
        };
        if let Err(error) = &response {
            // The client writes the same headers. They count towards the size of the message, and name the outcome.
            headers.insert(NATS_SERVICE_ERROR_CODE, HeaderValue::from(error.code));
            if let Ok(status) = error.status.parse::<HeaderValue>() {
                headers.insert(NATS_SERVICE_ERROR, status);
            }
        }
        if let Some(failure) = outcome::of_service_error(&headers) {
            // Only the first response reaches the requester.
            let _ = self.failure.set(failure);
        }
        let payload = response.as_deref().unwrap_or_default();
        // The requester chooses the subject, which must not become a span name or a series.
        let (inbox, kind) = self.client.nats.destination(INBOX, "");
        let (send, max_size) = (inbox.send(PUBLISH), self.client.max_payload());
        let (operation, headers) =
            self.client.start_outbound(send, kind, reply, Some(headers), payload, max_size);
        let respond = self.inner.respond_with_headers(response, headers.unwrap_or_default());
        operation.run_with(respond, outcome::of_result).await
    }
}

impl InboundMessage for Request {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::new(self.inner.message.headers.as_ref())
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        let async_nats::Message { subject, headers, payload, .. } = &self.inner.message;
        of_message(attributes, self.kind, subject, headers.as_ref(), payload);
    }
}

impl Deref for Request {
    type Target = bare::Request;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
