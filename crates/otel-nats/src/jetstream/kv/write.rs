//! Writing to a key-value store: the publishing of async-nats, which has no place for headers, with the context in them.
//!
//! Follows [ADR-8, JetStream based key-value
//! stores](https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md): the subjects and headers of each
//! write.

use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL, NATS_ROLLUP};
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::kv::{
    CreateError, CreateErrorKind, Entry, Operation, PutError, PutErrorKind, UpdateError, UpdateErrorKind,
};
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_messaging::MessagingOperation;
use otel_propagation::HeaderWriter as _;

use crate::attributes::{SubjectKind, set_ack};
use crate::carrier::HeaderInjector;
use crate::jetstream::kv::Store;
use crate::outcome;

/// The header of an operation that is no put.
const KV_OPERATION: &str = "KV-Operation";

/// The reasons for which a value was not written.
pub(super) enum WriteError {
    InvalidKey,
    Publish(PublishError),
    Ack(PublishError),
}

impl From<WriteError> for PutError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::InvalidKey => Self::new(PutErrorKind::InvalidKey),
            WriteError::Publish(error) => Self::with_source(PutErrorKind::Publish, error),
            WriteError::Ack(error) => Self::with_source(PutErrorKind::Ack, error),
        }
    }
}

impl From<WriteError> for UpdateError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::InvalidKey => Self::new(UpdateErrorKind::InvalidKey),
            WriteError::Publish(error) | WriteError::Ack(error) => error.into(),
        }
    }
}

pub(super) fn none() -> HeaderMap {
    HeaderMap::new()
}

pub(super) fn delete() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(KV_OPERATION, "DEL");
    headers
}

pub(super) fn purge(ttl: Option<Duration>) -> HeaderMap {
    let mut headers = living(HeaderMap::new(), ttl);
    headers.insert(KV_OPERATION, "PURGE");
    headers.insert(NATS_ROLLUP, "sub");
    headers
}

/// Adds the condition that this is the last revision of the key.
pub(super) fn expecting(mut headers: HeaderMap, revision: Option<u64>) -> HeaderMap {
    if let Some(revision) = revision {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
    }
    headers
}

/// Limits the life of the message.
fn living(mut headers: HeaderMap, ttl: Option<Duration>) -> HeaderMap {
    if let Some(ttl) = ttl {
        headers.insert(NATS_MESSAGE_TTL, HeaderValue::from(ttl.as_secs()));
    }
    headers
}

/// Returns true for a key that async-nats accepts.
fn is_valid(key: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_=.".contains(&byte);
    !key.is_empty() && !key.starts_with('.') && !key.ends_with('.') && key.bytes().all(is_part)
}

impl Store {
    /// Returns false if the prefix of the subjects for writing is not known: async-nats shows that of a context with a domain
    /// or a prefix of its own to nobody. The store's own methods then write, without a context in headers.
    pub(super) fn has_subjects(&self) -> bool {
        !self.inner.use_jetstream_prefix
    }

    /// Publishes to a key, inside a span with the name of the operation.
    pub(super) async fn write<E>(
        &self,
        name: &'static str,
        key: &str,
        headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64, async_nats::error::Error<E>>
    where
        E: Clone + std::fmt::Debug + std::fmt::Display + PartialEq,
        async_nats::error::Error<E>: From<WriteError>,
    {
        let (operation, headers) = self.start(name, key, headers, &value);
        let recording = recording(&operation);
        let write = async { Ok(self.publish(recording, key, headers, value).await?) };
        operation.run_with(write, outcome::of_result).await
    }

    /// Writes a marker that a key is gone.
    pub(super) async fn erase(
        &self,
        name: &'static str,
        key: &str,
        headers: HeaderMap,
    ) -> Result<(), UpdateError> {
        self.write(name, key, headers, Bytes::new()).await.map(drop)
    }

    /// Writes a key that does not exist or was deleted, as async-nats does: at first as if it had never existed.
    pub(super) async fn write_new(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, CreateError> {
        // The longest revision, so that the headers of no attempt are larger than these.
        let longest = living(expecting(none(), Some(u64::MAX)), ttl);
        let (operation, headers) = self.start("create", key, longest, &value);
        let recording = recording(&operation);
        let attempt = async |headers, revision| -> Result<u64, UpdateError> {
            let headers = expecting(headers, Some(revision));
            Ok(self.publish(recording.clone(), key, headers, value.clone()).await?)
        };
        let create = async {
            let error = match attempt(headers.clone(), 0).await {
                Ok(revision) => return Ok(revision),
                Err(error) => error,
            };
            match self.inner.entry(key).await? {
                Some(Entry { operation: Operation::Delete | Operation::Purge, revision, .. }) => {
                    let mut headers = headers;
                    // async-nats repeats the attempt without a time to live, which some buckets refuse.
                    HeaderInjector(&mut headers).remove(NATS_MESSAGE_TTL.as_ref());
                    Ok(attempt(headers, revision).await?)
                }
                Some(_) => Err(CreateError::new(CreateErrorKind::AlreadyExists)),
                None => Err(error.into()),
            }
        };
        operation.run_with(create, outcome::of_result).await
    }

    fn start(
        &self,
        name: &'static str,
        key: &str,
        headers: HeaderMap,
        value: &[u8],
    ) -> (MessagingOperation, HeaderMap) {
        let send = self.destination.request(name);
        let subject = self.subject(key);
        let client = &self.context.client;
        let max_size = client.max_payload().min(self.max_message_size());
        let (operation, headers) =
            client.start_outbound(send, SubjectKind::Pattern, &subject, Some(headers), value, max_size);
        (operation, headers.unwrap_or_default())
    }

    /// Returns the largest size of a message that the bucket stores, headers included. Zero and -1 are no limit.
    fn max_message_size(&self) -> usize {
        let size = self.inner.stream.cached_info().config.max_message_size;
        usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(usize::MAX)
    }

    /// Publishes to a key and waits for the acknowledgement.
    async fn publish(
        &self,
        recording: Option<Context>,
        key: &str,
        headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64, WriteError> {
        if !is_valid(key) {
            return Err(WriteError::InvalidKey);
        }
        let subject = match &self.inner.put_prefix {
            Some(prefix) => format!("{prefix}{key}"),
            None => self.subject(key),
        };
        let context = self.context.inner();
        let published = match headers.is_empty() {
            true => context.publish(subject, value).await,
            false => context.publish_with_headers(subject, headers, value).await,
        };
        let ack = published.map_err(WriteError::Publish)?.await.map_err(WriteError::Ack)?;
        if let Some(context) = recording {
            set_ack(&context.span(), &ack);
        }
        Ok(ack.sequence)
    }
}

/// Returns the context of the operation's span, if it records.
fn recording(operation: &MessagingOperation) -> Option<Context> {
    operation.recording().is_some().then(|| operation.context().clone())
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn a_key_is_valid_as_for_async_nats() {
        for valid in ["a", "a.b", "A-1/_=", "a..b"] {
            assert!(is_valid(valid), "{valid}");
        }
        for invalid in ["", ".a", "a.", "a b", "a*", ">", "ä", "a\r\nb"] {
            assert!(!is_valid(invalid), "{invalid}");
        }
    }
}
