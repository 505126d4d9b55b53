//! The sizes up to which a topic accepts records, and the room that they leave for headers.
//!
//! A broker rejects a batch that is larger than its topic's
//! [`max.message.bytes`](https://kafka.apache.org/documentation/#topicconfigs_max.message.bytes). The smallest batch is
//! one record, so that a record fits if a batch of it alone does.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use otel_messaging::HeaderBudget;
use otel_operation::catch_panic;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::message::BorrowedHeaders;

use crate::carrier::raw;
use crate::producer::in_flight::RecordParts;

/// The default size in bytes up to which records of a topic with an unknown limit get headers.
const SAFE_SIZE: usize = 64 << 10;
/// The limit of a topic that has no known limit.
const UNKNOWN: usize = usize::MAX;
/// A batch's bytes before its first record.
const BATCH: usize = 61;
/// The framing of one injected header: the lengths of its name and of its value, up to 8 KiB and 1 MiB.
const PER_HEADER: usize = 5;
/// The bytes by which the length of the record and the number of its headers may grow.
const GROWTH: usize = 4;
/// The most bytes that the lengths and flags of a record without headers take.
const LENGTHS: usize = 20;
/// A topic's setting with its limit.
const SETTING: &str = "max.message.bytes";

type Lookup = Pin<Box<dyn Future<Output = Result<usize, String>> + Send>>;
type Source = Arc<dyn Fn(&str) -> Lookup + Send + Sync>;

/// The limits of the topics of one producer. Like librdkafka, which keeps a handle of each, it forgets no topic.
pub(crate) struct TopicLimits {
    /// The limit of topics whose limit is unknown.
    unknown: AtomicUsize,
    /// The largest batch of several records. In a topic that does not accept such a batch the headers of several
    /// records could make one too large together.
    max_batch: usize,
    /// True if a topic may have a limit of its own.
    is_used: AtomicBool,
    topics: RwLock<HashMap<Box<str>, TopicLimit>>,
    source: RwLock<Option<Source>>,
    #[cfg(feature = "tracing")]
    is_failure_logged: AtomicBool,
}

struct TopicLimit {
    known: AtomicUsize,
    /// The size without injected headers of the smallest record that was refused with them.
    refused: AtomicUsize,
    is_pending: AtomicBool,
    lookup: Mutex<Option<Lookup>>,
}

impl TopicLimit {
    fn new(lookup: Option<Lookup>) -> Self {
        Self {
            known: AtomicUsize::new(UNKNOWN),
            refused: AtomicUsize::new(UNKNOWN),
            is_pending: AtomicBool::new(lookup.is_some()),
            lookup: Mutex::new(lookup),
        }
    }
}

impl TopicLimits {
    /// Creates the limits of a producer whose batches of several records have at most this size.
    pub(crate) fn new(max_batch: usize) -> Self {
        Self {
            unknown: AtomicUsize::new(SAFE_SIZE),
            max_batch,
            is_used: AtomicBool::new(false),
            topics: RwLock::default(),
            source: RwLock::default(),
            #[cfg(feature = "tracing")]
            is_failure_logged: AtomicBool::new(false),
        }
    }

    /// Sets the size up to which records of a topic with an unknown limit get headers.
    pub(crate) fn set_safe_size(&self, bytes: usize) {
        self.unknown.store(bytes, Ordering::Relaxed);
    }

    /// Sets the limit of a topic.
    pub(crate) fn set(&self, topic: &str, bytes: usize) {
        self.with_topic(topic, |limit| {
            limit.known.store(bytes, Ordering::Relaxed);
            limit.is_pending.store(false, Ordering::Relaxed);
        });
    }

    /// Remembers that a record of this size, without injected headers, was refused with them.
    pub(crate) fn set_refused(&self, topic: &str, bytes: usize) {
        self.with_topic(topic, |limit| limit.refused.fetch_min(bytes, Ordering::Relaxed));
    }

    /// Looks limits up with this client, once a topic.
    pub(crate) fn look_up<C: ClientContext + 'static>(&self, admin: AdminClient<C>) {
        let admin = Arc::new(admin);
        let source: Source = Arc::new(move |topic| Box::pin(describe(Arc::clone(&admin), topic.to_owned())));
        *self.source.write().unwrap_or_else(PoisonError::into_inner) = Some(source);
        self.is_used.store(true, Ordering::Release);
    }

    fn with_topic<T>(&self, topic: &str, change: impl FnOnce(&TopicLimit) -> T) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        change(topics.entry(topic.into()).or_insert_with(|| TopicLimit::new(None)));
        self.is_used.store(true, Ordering::Release);
    }

    /// Returns the bytes by which the headers of a record may grow.
    pub(crate) fn budget(&self, parts: &RecordParts<'_>, headers: Option<&BorrowedHeaders>) -> HeaderBudget {
        let limit = if self.is_used.load(Ordering::Acquire) {
            self.limit(parts.topic)
        } else {
            self.unknown.load(Ordering::Relaxed)
        };
        // Most records are far below the limit, so that their size need not be exact.
        let bytes = parts.key.map_or(0, <[u8]>::len) + parts.payload.map_or(0, <[u8]>::len);
        let size = match headers {
            None if bytes < limit / 2 => BATCH + LENGTHS + bytes,
            _ => batch_size(parts, headers),
        };
        HeaderBudget::bytes(limit.saturating_sub(size + GROWTH), PER_HEADER)
    }

    /// Returns the limit of a topic, and asks for it at the first use.
    fn limit(&self, topic: &str) -> usize {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = topics.get(topic) {
            return self.current(topic, limit);
        }
        drop(topics);
        let source = self.source.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(source) = source else { return self.unknown.load(Ordering::Relaxed) };
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let limit = topics.entry(topic.into()).or_insert_with(|| TopicLimit::new(Some(source(topic))));
        self.current(topic, limit)
    }

    fn current(&self, topic: &str, limit: &TopicLimit) -> usize {
        if limit.is_pending.load(Ordering::Acquire) {
            self.poll(topic, limit);
        }
        let known = limit.known.load(Ordering::Relaxed);
        match known.min(limit.refused.load(Ordering::Relaxed)) {
            UNKNOWN => self.unknown.load(Ordering::Relaxed),
            least if least < self.max_batch => 0,
            least if known == UNKNOWN => least.min(self.unknown.load(Ordering::Relaxed)),
            least => least,
        }
    }

    /// Polls a lookup. Each record of the topic does so, because a producer has no runtime that could.
    fn poll(&self, topic: &str, limit: &TopicLimit) {
        let Ok(mut pending) = limit.lookup.try_lock() else { return };
        let Some(lookup) = &mut *pending else { return };
        let poll = || lookup.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match catch_panic(poll) {
            Some(Poll::Pending) => return,
            Some(Poll::Ready(Ok(bytes))) => limit.known.store(bytes, Ordering::Relaxed),
            Some(Poll::Ready(Err(error))) => self.log(topic, &error),
            None => self.log(topic, "the lookup panicked"),
        }
        *pending = None;
        limit.is_pending.store(false, Ordering::Release);
    }

    /// Logs the first failure.
    #[cfg(feature = "tracing")]
    fn log(&self, topic: &str, error: &str) {
        if !self.is_failure_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                topic,
                "lookup of {SETTING} failed: {error}; records above the safe size are sent without context"
            );
        }
    }

    #[cfg(not(feature = "tracing"))]
    #[expect(clippy::unused_self, reason = "the other one logs")]
    fn log(&self, _: &str, _: &str) {}
}

impl fmt::Debug for TopicLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicLimits").field("unknown", &self.unknown).finish_non_exhaustive()
    }
}

/// Asks the broker for the limit of a topic.
async fn describe<C: ClientContext + 'static>(
    admin: Arc<AdminClient<C>>,
    topic: String,
) -> Result<usize, String> {
    // The time-out is the client's, `socket.timeout.ms`.
    let options = AdminOptions::new();
    let specifier = ResourceSpecifier::Topic(&topic);
    let described = admin.describe_configs([&specifier], &options).await;
    let resource = described.map_err(|error| error.to_string())?.into_iter().next();
    let resource = resource.ok_or("the answer names no topic")?.map_err(|code| code.to_string())?;
    let value = resource.get(SETTING).and_then(|entry| entry.value.as_deref());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| "the answer has no such number".to_owned())
}

/// Returns the bytes of a batch of one record, uncompressed. A compressed one is smaller, because librdkafka leaves out
/// a compression that makes a batch larger.
pub(crate) fn batch_size(parts: &RecordParts<'_>, headers: Option<&BorrowedHeaders>) -> usize {
    let field = |bytes: Option<usize>| bytes.map_or(1, |bytes| varint(bytes) + bytes);
    let count = headers.map_or(0, raw::count);
    let listed = (0..count).filter_map(|index| raw::get(headers?, index));
    let listed: usize =
        listed.map(|(name, value)| field(Some(name.to_bytes().len())) + field(value.map(<[u8]>::len))).sum();
    // Attributes and the differences to the first timestamp and offset take a byte each.
    let record = 3
        + field(parts.key.map(<[u8]>::len))
        + field(parts.payload.map(<[u8]>::len))
        + varint(count)
        + listed;
    BATCH + varint(record) + record
}

/// Returns the bytes of a length as a variable-length integer, in which the sign takes a bit.
fn varint(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros() + 1) as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_the_bytes_that_the_protocol_says() {
        for (length, bytes) in
            [(0, 1), (63, 1), (64, 2), (8_191, 2), (8_192, 3), (1_048_575, 3), (1_048_576, 4)]
        {
            assert_eq!(varint(length), bytes, "{length}");
        }
    }

    #[test]
    fn a_refusal_lowers_a_known_limit_and_an_unknown_one() {
        let limits = TopicLimits::new(1_000);
        assert_eq!(limits.limit("a"), SAFE_SIZE);
        limits.set("a", 1_500);
        assert_eq!((limits.limit("a"), limits.limit("b")), (1_500, SAFE_SIZE));
        limits.set_refused("a", 1_480);
        limits.set_refused("a", 1_490);
        limits.set_refused("b", 100_000);
        assert_eq!((limits.limit("a"), limits.limit("b")), (1_480, SAFE_SIZE));
        limits.set("c", 999);
        assert_eq!(limits.limit("c"), 0, "a batch of several records may be larger");
        limits.set_safe_size(0);
        assert_eq!((limits.limit("a"), limits.limit("b")), (1_480, 0));
    }
}
