//! The updates of a key-value store, from the consumer that async-nats' `Watch` has: that one hides the headers.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use async_nats::HeaderMap;
use async_nats::header::NATS_MARKER_REASON;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::kv as bare;
use async_nats::jetstream::kv::{Operation, WatchError, WatchErrorKind, WatcherError, WatcherErrorKind};
use async_nats::jetstream::message::Info;
use async_nats::jetstream::stream::ConsumerErrorKind;
use futures_core::Stream;
use otel_messaging::{HandlerOutcome, MessagingOperation, record_receive_error};
use otel_operation::{Outcome, StartTime};

use crate::consumer::RECEIVE;
use crate::jetstream::JetStreamMessage;
use crate::jetstream::kv::Store;

impl Store {
    pub(super) async fn watch_from(
        &self,
        key: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<Watch, WatchError> {
        let watch = async {
            let config = OrderedConfig {
                deliver_subject: self.context.client.new_inbox(),
                description: Some("kv watch consumer".to_owned()),
                filter_subject: self.subject(key),
                replay_policy: ReplayPolicy::Instant,
                deliver_policy,
                ..OrderedConfig::default()
            };
            let consumer =
                self.inner.stream.create_consumer(config).await.map_err(|error| match error.kind() {
                    ConsumerErrorKind::TimedOut => WatchError::new(WatchErrorKind::TimedOut),
                    _ => WatchError::with_source(WatchErrorKind::Other, error),
                })?;
            let seen_current = consumer.cached_info().num_pending == 0;
            Ok(Watch { messages: consumer.messages().await?, store: self.clone(), seen_current, wait: None })
        };
        self.call("watch", key, watch).await
    }
}

/// async-nats' `Watch`, a stream of updates.
#[must_use = "streams do nothing unless polled"]
pub struct Watch {
    messages: Ordered,
    store: Store,
    seen_current: bool,
    /// The start of the wait for the next update, if receiving is recorded as spans.
    wait: Option<StartTime>,
}

impl Stream for Watch {
    type Item = Result<Entry, WatcherError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let messaging = self.store.context.client.nats.clone();
        if self.wait.is_none() {
            self.wait = messaging.messaging().receive_start();
        }
        let received = ready!(Pin::new(&mut self.messages).poll_next(cx));
        let wait = self.wait.take();
        let Some(received) = received else { return Poll::Ready(None) };
        let entry = received.map_err(WatcherError::from).and_then(|message| self.entry(message, wait));
        if let Err(error) = &entry {
            let outcome = Outcome::from_variant(&error.kind());
            record_receive_error(messaging.messaging(), RECEIVE, wait, &outcome);
        }
        Poll::Ready(Some(entry))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Watch {
    fn entry(&mut self, message: Message, wait: Option<StartTime>) -> Result<Entry, WatcherError> {
        let info = message.info().map_err(|error| {
            let text = format!("failed to parse message metadata: {error}");
            WatcherError::with_source(WatcherErrorKind::Other, text)
        })?;
        // Values that the bucket had when the watch began, the last of which has no successor.
        let replayed = !self.seen_current;
        self.seen_current |= info.pending == 0;
        let Store { inner: store, destination, .. } = &self.store;
        let inner = entry(store, &message, &info, self.seen_current);
        let message = JetStreamMessage::received(message, destination.clone(), replayed, wait);
        Ok(Entry { inner, message })
    }
}

fn entry(store: &bare::Store, message: &Message, info: &Info<'_>, seen_current: bool) -> bare::Entry {
    let subject = message.subject.as_str();
    bare::Entry {
        bucket: store.name.clone(),
        key: subject.strip_prefix(&store.prefix).unwrap_or(subject).to_owned(),
        value: message.payload.clone(),
        revision: info.stream_sequence,
        created: info.published,
        delta: info.pending,
        operation: message.headers.as_ref().and_then(operation).unwrap_or(Operation::Put),
        seen_current,
    }
}

/// Returns the operation that a message describes, if it is no put.
fn operation(headers: &HeaderMap) -> Option<Operation> {
    if let Some(operation) = headers.get("KV-Operation") {
        return operation.as_str().parse().ok();
    }
    match headers.get(NATS_MARKER_REASON)?.as_str() {
        "MaxAge" | "Purge" => Some(Operation::Purge),
        "Remove" => Some(Operation::Delete),
        _ => None,
    }
}

/// async-nats' key-value `Entry`, to which it dereferences, with methods that record processing.
///
/// The `process` span of an update links to the operation that has written it. A value that the bucket had when the watch
/// began never makes it a child of that operation.
#[derive(Clone, Debug)]
pub struct Entry {
    inner: bare::Entry,
    message: JetStreamMessage,
}

impl Entry {
    /// Runs `handler` on the update inside a `process` span, whose context is current in the handler.
    ///
    /// The span ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled` if this future is
    /// dropped, or as `panic` if the handler panics.
    pub async fn process<T: HandlerOutcome>(&self, handler: impl AsyncFnOnce(&Self) -> T) -> T {
        self.processing().run(async { handler(self).await }).await
    }

    /// Starts the `process` span of the update, for handlers that are not closures or not async.
    pub fn processing(&self) -> MessagingOperation {
        self.message.processing()
    }

    /// Returns the entry of async-nats.
    #[must_use]
    pub fn into_inner(self) -> bare::Entry {
        self.inner
    }
}

impl Deref for Entry {
    type Target = bare::Entry;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
