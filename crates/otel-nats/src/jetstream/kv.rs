//! Key-value stores: a client span for each operation, and updates that link to the put that caused them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): a value is a message in a stream.
//! `docs/conventions.md` has the reason.

mod watch;
mod write;

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_nats::error::Error;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::context::{CreateKeyValueError, KeyValueError};
use async_nats::jetstream::kv as bare;
use async_nats::jetstream::kv::{
    Config, CreateError, DeleteError, EntryError, History, HistoryError, Keys, PurgeError, PutError,
    StatusError, UpdateError, WatchError,
};
use bytes::Bytes;
use otel_messaging::Destination;

use crate::jetstream::Context;
use crate::outcome;

pub use crate::jetstream::kv::watch::{Entry, Watch};

impl Context {
    /// Returns a key-value store, as async-nats' method does, with the instrumentation of this context.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_key_value<T: Into<String>>(&self, bucket: T) -> Result<Store, KeyValueError> {
        self.inner().get_key_value(bucket).await.map(|store| self.key_value(store))
    }

    /// Creates a key-value store, as async-nats' method does, with the instrumentation of this context.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn create_key_value(&self, config: Config) -> Result<Store, CreateKeyValueError> {
        self.inner().create_key_value(config).await.map(|store| self.key_value(store))
    }

    /// Instruments a key-value store of async-nats, which has to be one of [`inner`](Self::inner).
    #[must_use]
    pub fn key_value(&self, store: bare::Store) -> Store {
        let destination = self.client.nats.bucket(store.prefix.trim_end_matches('.'));
        Store { inner: store, context: self.clone(), destination }
    }
}

/// async-nats' key-value `Store`. Each operation is a client span with the name of the method and the bucket, such as
/// `put $KV.prices`.
///
/// ```
/// use futures_util::StreamExt;
/// use otel_nats::jetstream::Context;
///
/// async fn follow(context: &Context) -> Result<(), async_nats::Error> {
///     let prices = context.get_key_value("prices").await?;
///     let mut updates = prices.watch_all().await?;
///     prices.put("books", "7".into()).await?;
///     while let Some(update) = updates.next().await {
///         // A `process` span, which links to the `put` of the update.
///         update?.process(async |update| println!("{}: {:?}", update.key, update.value)).await;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    inner: bare::Store,
    context: Context,
    destination: Destination,
}

impl Store {
    /// Returns the store of async-nats, for that which this crate does not instrument.
    #[must_use]
    pub fn inner(&self) -> &bare::Store {
        &self.inner
    }

    /// Returns the status of the bucket. It is no operation of the server and records nothing.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn status(&self) -> Result<bare::bucket::Status, StatusError> {
        self.inner.status().await
    }

    /// Returns the last value of a key.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get<T: Into<String>>(&self, key: T) -> Result<Option<Bytes>, EntryError> {
        let key = key.into();
        self.call("get", &key, self.inner.get(key.as_str())).await
    }

    /// Returns the last entry of a key.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn entry<T: Into<String>>(&self, key: T) -> Result<Option<bare::Entry>, EntryError> {
        let key = key.into();
        self.call("entry", &key, self.inner.entry(key.as_str())).await
    }

    /// Returns the entry of a key with this revision.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn entry_for_revision<T: Into<String>>(
        &self,
        key: T,
        revision: u64,
    ) -> Result<Option<bare::Entry>, EntryError> {
        let key = key.into();
        self.call("entry_for_revision", &key, self.inner.entry_for_revision(key.as_str(), revision)).await
    }

    /// Puts a value, and returns its revision.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn put<T: AsRef<str>>(&self, key: T, value: Bytes) -> Result<u64, PutError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.write("put", key, write::none(), value).await,
            false => self.call("put", key, self.inner.put(key, value)).await,
        }
    }

    /// Creates a key that does not exist, and returns the revision of its value.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn create<T: AsRef<str>>(&self, key: T, value: Bytes) -> Result<u64, CreateError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.write_new(key, value, None).await,
            false => self.call("create", key, self.inner.create(key, value)).await,
        }
    }

    /// Creates a key that does not exist and is deleted after this time, in complete seconds. A key that was deleted before is
    /// created without this time, as async-nats does.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn create_with_ttl<T: AsRef<str>>(
        &self,
        key: T,
        value: Bytes,
        ttl: Duration,
    ) -> Result<u64, CreateError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.write_new(key, value, Some(ttl)).await,
            false => self.call("create", key, self.inner.create_with_ttl(key, value, ttl)).await,
        }
    }

    /// Puts a value if the last revision of the key is this one.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn update<T: AsRef<str>>(
        &self,
        key: T,
        value: Bytes,
        revision: u64,
    ) -> Result<u64, UpdateError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.write("update", key, write::expecting(write::none(), Some(revision)), value).await,
            false => self.call("update", key, self.inner.update(key, value, revision)).await,
        }
    }

    /// Deletes a key. Its earlier values stay in the history.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn delete<T: AsRef<str>>(&self, key: T) -> Result<(), DeleteError> {
        self.delete_expect_revision(key, None).await
    }

    /// Deletes a key if its last revision is this one.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn delete_expect_revision<T: AsRef<str>>(
        &self,
        key: T,
        revision: Option<u64>,
    ) -> Result<(), DeleteError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.erase("delete", key, write::expecting(write::delete(), revision)).await,
            false => self.call("delete", key, self.inner.delete_expect_revision(key, revision)).await,
        }
    }

    /// Deletes a key and its earlier values.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn purge<T: AsRef<str>>(&self, key: T) -> Result<(), PurgeError> {
        self.purge_expect_revision(key, None).await
    }

    /// Deletes a key and its earlier values if its last revision is this one.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn purge_expect_revision<T: AsRef<str>>(
        &self,
        key: T,
        revision: Option<u64>,
    ) -> Result<(), PurgeError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.erase("purge", key, write::expecting(write::purge(None), revision)).await,
            false => self.call("purge", key, self.inner.purge_expect_revision(key, revision)).await,
        }
    }

    /// Deletes a key and its earlier values, with a marker that is removed after this time, in complete seconds.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn purge_with_ttl<T: AsRef<str>>(&self, key: T, ttl: Duration) -> Result<(), PurgeError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.erase("purge", key, write::purge(Some(ttl))).await,
            false => self.call("purge", key, self.inner.purge_with_ttl(key, ttl)).await,
        }
    }

    /// Deletes a key and its earlier values if its last revision is this one, with a marker that is removed after this
    /// time, in complete seconds.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn purge_expect_revision_with_ttl<T: AsRef<str>>(
        &self,
        key: T,
        revision: u64,
        ttl: Duration,
    ) -> Result<(), PurgeError> {
        let key = key.as_ref();
        match self.has_subjects() {
            true => self.erase("purge", key, write::expecting(write::purge(Some(ttl)), Some(revision))).await,
            false => {
                let purge = self.inner.purge_expect_revision_with_ttl(key, revision, ttl);
                self.call("purge", key, purge).await
            }
        }
    }

    /// Watches a key, which may have wildcards, for updates.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn watch<T: AsRef<str>>(&self, key: T) -> Result<Watch, WatchError> {
        self.watch_from(key.as_ref(), DeliverPolicy::New).await
    }

    /// Watches a key, which may have wildcards: its last value first, then its updates.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn watch_with_history<T: AsRef<str>>(&self, key: T) -> Result<Watch, WatchError> {
        self.watch_from(key.as_ref(), DeliverPolicy::LastPerSubject).await
    }

    /// Watches a key, which may have wildcards, from a revision on.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn watch_from_revision<T: AsRef<str>>(
        &self,
        key: T,
        revision: u64,
    ) -> Result<Watch, WatchError> {
        self.watch_from(key.as_ref(), DeliverPolicy::ByStartSequence { start_sequence: revision }).await
    }

    /// Watches all keys for updates.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn watch_all(&self) -> Result<Watch, WatchError> {
        self.watch(ALL_KEYS).await
    }

    /// Watches all keys from a revision on.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn watch_all_from_revision(&self, revision: u64) -> Result<Watch, WatchError> {
        self.watch_from_revision(ALL_KEYS, revision).await
    }

    /// Returns the values of a key, the oldest first. The span lasts until the server has created their consumer.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn history<T: AsRef<str>>(&self, key: T) -> Result<History, HistoryError> {
        let key = key.as_ref();
        self.call("history", key, self.inner.history(key)).await
    }

    /// Returns the keys. The span lasts until the server has created their consumer.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn keys(&self) -> Result<Keys, HistoryError> {
        self.call("keys", ALL_KEYS, self.inner.keys()).await
    }

    /// Returns the subject of a key, as it is stored.
    fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.inner.prefix)
    }

    /// Runs an operation of async-nats inside a span.
    async fn call<T, K>(
        &self,
        name: &'static str,
        key: &str,
        call: impl Future<Output = Result<T, Error<K>>>,
    ) -> Result<T, Error<K>>
    where
        K: Clone + Debug + Display + PartialEq,
    {
        let operation =
            self.destination.custom(name).start(&opentelemetry::Context::current(), |attributes| {
                attributes.destination_name(&self.subject(key));
            });
        operation.run_with(call, outcome::of_result).await
    }
}

/// The pattern of all keys, as async-nats has it.
const ALL_KEYS: &str = ">";
