//! Sends one encoded request until it is accepted, rejected for good, or its time is over.
//!
//! Follows "Failures" of the [OTLP specification](https://opentelemetry.io/docs/specs/otlp/#failures) and "Retry" of
//! the [OTLP exporter specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/#retry).

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use prost::Message;
use tokio::time::Instant;

use super::backoff::{AT_SHUTDOWN, Backoff, Retry};
use crate::status::ExportStatus;
use crate::telemetry::LONGEST;

/// The connection to a collector, over one of the protocols.
pub(super) trait Transport: Send + Sync {
    /// Sends a request once, and returns the encoded response.
    fn attempt(&self, request: Bytes) -> Attempt<'_>;
}

pub(super) type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Bytes, Rejection>> + Send + 'a>>;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) cause: String,
    pub(super) retry: Retry,
}

/// The common form of the responses of the three services.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// A connection to a collector with its back-off.
pub(super) struct Sender {
    transport: Box<dyn Transport>,
    timeout: Duration,
    retry_for: Duration,
    status: Arc<ExportStatus>,
    backoff: Mutex<Backoff>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Sender {
    /// `timeout` limits one attempt, `retry_for` the time from the first attempt to the start of the last one.
    pub(super) fn new(
        transport: Box<dyn Transport>,
        timeout: Duration,
        retry_for: Duration,
        status: Arc<ExportStatus>,
    ) -> Self {
        Self { transport, timeout, retry_for: retry_for.min(LONGEST), status, backoff: Mutex::default() }
    }

    pub(super) async fn send(&self, request: Bytes) -> OTelSdkResult {
        let deadline = Instant::now() + self.retry_for;
        loop {
            self.wait(deadline).await;
            let attempt = self.transport.attempt(request.clone());
            let (rejection, timed_out) = match tokio::time::timeout(self.timeout, attempt).await {
                Ok(Ok(response)) => {
                    self.accepted(response);
                    return Ok(());
                }
                Ok(Err(rejection)) => (rejection, false),
                Err(_elapsed) => {
                    let cause = format!("no response within {:?}", self.timeout);
                    (Rejection { cause, retry: Retry::Backoff }, true)
                }
            };
            let delay = self.delay(rejection.retry, deadline);
            self.status.failed(rejection.cause.clone(), timed_out, delay);
            if delay.is_none() {
                return Err(OTelSdkError::InternalFailure(rejection.cause));
            }
        }
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the back-off allows an attempt, at most until `deadline`.
    async fn wait(&self, deadline: Instant) {
        let (not_before, is_requested) = {
            let backoff = self.backoff();
            (backoff.not_before, backoff.is_requested)
        };
        let Some(until) = not_before.map(|time| time.min(deadline)) else { return };
        let mut closing = self.status.closing();
        let is_closing = *closing.borrow_and_update();
        self.status.set_retrying(true);
        if is_requested {
            tokio::time::sleep_until(until).await;
        } else if is_closing {
            tokio::time::sleep_until(until.min(Instant::now() + AT_SHUTDOWN)).await;
        } else {
            // The status owns the sender of the channel, so that a change can only be the shutdown.
            let _ = tokio::time::timeout_at(until, closing.changed()).await;
        }
        self.status.set_retrying(false);
    }

    /// Returns the delay before the next attempt, or `None` if there is none.
    fn delay(&self, retry: Retry, deadline: Instant) -> Option<Duration> {
        let asked = match retry {
            Retry::Never => {
                self.backoff().reset();
                return None;
            }
            Retry::Backoff => None,
            Retry::After(delay) => Some(delay),
        };
        let now = Instant::now();
        let delay = self.backoff().next(asked, now, fastrand::f64());
        let left = deadline.saturating_duration_since(now);
        let is_given_up = *self.status.closing().borrow() && !self.status.was_reached();
        if left.is_zero() || is_given_up || asked.is_some_and(|asked| asked > left) {
            return None;
        }
        Some(delay.min(left))
    }

    fn accepted(&self, response: Bytes) {
        self.backoff().reset();
        self.status.succeeded();
        // A response that is not OTLP comes from something in between that has accepted the request.
        let response = ExportResponse::decode(response).unwrap_or_default();
        let Some(PartialSuccess { rejected, error_message }) = response.partial_success else { return };
        if rejected > 0 || !error_message.is_empty() {
            self.status.rejected(u64::try_from(rejected).unwrap_or(0), &one_line(&error_message));
        }
    }
}

/// The maximum length in bytes of a collector's message in reports.
const MESSAGE_LIMIT: usize = 300;

/// Returns a collector's message as one bounded line, because it becomes part of log events and of the health.
pub(super) fn one_line(message: &str) -> String {
    let mut starts = message.char_indices().map(|(start, _)| start);
    let end = starts.find(|start| *start >= MESSAGE_LIMIT).unwrap_or(message.len());
    let is_between = |character: char| character.is_whitespace() || character.is_control();
    let words = message[..end].split(is_between).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}
