//! Object stores: a client span for each operation, and updates that link to the put that caused them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), as key-value stores do. The context
//! of a put travels in the headers of the object's metadata, because async-nats publishes the metadata itself.

use std::fmt::{self, Debug, Display};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use async_nats::HeaderMap;
use async_nats::error::Error;
use async_nats::jetstream::context::{CreateObjectStoreError, ObjectStoreError};
use async_nats::jetstream::object_store as bare;
use async_nats::jetstream::object_store::{
    AddLinkError, AsObjectInfo, Config, DeleteError, GetError, InfoError, List, ListError, Object,
    ObjectInfo, ObjectMetadata, PutError, SealError, UpdateMetadata, UpdateMetadataError, WatchError,
    WatcherError,
};
use futures_core::Stream;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, HandlerOutcome, HeaderBudget, InboundMessage, MessagingOperation,
    record_receive_error, record_received, start_processing,
};
use otel_operation::{Outcome, StartTime};
use otel_propagation::HeaderReader;
use tokio::io::AsyncRead;

use crate::attributes::set_object;
use crate::carrier::{HeaderExtractor, OutboundHeaders};
use crate::consumer::RECEIVE;
use crate::jetstream::Context;
use crate::nats::ClientInstrumentation;
use crate::outcome;

/// The largest number of bytes of one byte in JSON.
const ESCAPED: usize = 6;

/// The bytes of an object's metadata in JSON beside the texts of the application: names, numbers, a digest, a time.
const FRAME: usize = 1024;

/// The bytes of a header in JSON beside its name and value: quotes, colon, brackets, comma.
const PER_HEADER: usize = 8;

impl Context {
    /// Returns an object store, as async-nats' method does, with the instrumentation of this context.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_object_store<T: AsRef<str>>(&self, bucket: T) -> Result<ObjectStore, ObjectStoreError> {
        let bucket = bucket.as_ref();
        self.inner().get_object_store(bucket).await.map(|inner| self.object_store(bucket, inner))
    }

    /// Creates an object store, as async-nats' method does, with the instrumentation of this context.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn create_object_store(&self, config: Config) -> Result<ObjectStore, CreateObjectStoreError> {
        let bucket = config.bucket.clone();
        self.inner().create_object_store(config).await.map(|inner| self.object_store(&bucket, inner))
    }

    fn object_store(&self, bucket: &str, inner: bare::ObjectStore) -> ObjectStore {
        let nats = self.client.nats.clone();
        let destination = nats.bucket(&format!("$O.{bucket}"));
        ObjectStore { inner, nats, destination, max_payload: self.client.max_payload() }
    }
}

/// async-nats' `ObjectStore`. Each operation is a client span with the name of the method and the bucket, such as
/// `put $O.reports`.
#[derive(Clone)]
pub struct ObjectStore {
    inner: bare::ObjectStore,
    nats: ClientInstrumentation,
    destination: Destination,
    max_payload: usize,
}

impl ObjectStore {
    /// Returns the store of async-nats, for that which this crate does not instrument.
    #[must_use]
    pub fn inner(&self) -> &bare::ObjectStore {
        &self.inner
    }

    /// Returns an object. The span lasts until its metadata have arrived; its data are read without a span.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get<T: AsRef<str> + Send>(&self, object_name: T) -> Result<Object, GetError> {
        let name = object_name.as_ref();
        self.call("get", Some(name), self.inner.get(name)).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn delete<T: AsRef<str>>(&self, object_name: T) -> Result<(), DeleteError> {
        let name = object_name.as_ref();
        self.call("delete", Some(name), self.inner.delete(name)).await
    }

    /// Returns the metadata of an object.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn info<T: AsRef<str>>(&self, object_name: T) -> Result<ObjectInfo, InfoError> {
        let name = object_name.as_ref();
        self.call("info", Some(name), self.inner.info(name)).await
    }

    /// Puts an object. The span lasts until all data have been read and acknowledged. Its context is added to the headers of
    /// the object's metadata.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn put<T>(&self, meta: T, data: &mut (impl AsyncRead + Unpin)) -> Result<ObjectInfo, PutError>
    where
        ObjectMetadata: From<T>,
    {
        let mut meta = ObjectMetadata::from(meta);
        let left = self.max_payload.saturating_sub(json_size(&meta)) / ESCAPED;
        let mut message = OutboundObject { name: &meta.name, headers: OutboundHeaders(meta.headers.take()) };
        let budget = HeaderBudget::bytes(left, PER_HEADER);
        let send = self.destination.request("put");
        let operation = send.start_outbound(&opentelemetry::Context::current(), &mut message, budget);
        if operation.is_context_dropped() {
            self.nats.count_context_dropped();
        }
        meta.headers = message.headers.0;
        operation.run_with(self.inner.put::<ObjectMetadata>(meta, data), outcome::of_result).await
    }

    /// Watches the objects for updates.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn watch(&self) -> Result<Watch, WatchError> {
        let inner = self.call("watch", None, self.inner.watch()).await?;
        Ok(Watch { inner, store: self.clone(), replayed: false, wait: None })
    }

    /// Watches the objects: their present metadata first, then the updates. As the two cannot be told apart, no `process` span
    /// becomes a child of a put.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn watch_with_history(&self) -> Result<Watch, WatchError> {
        let inner = self.call("watch", None, self.inner.watch_with_history()).await?;
        Ok(Watch { inner, store: self.clone(), replayed: true, wait: None })
    }

    /// Returns the metadata of all objects. The span lasts until the server has created their consumer.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn list(&self) -> Result<List, ListError> {
        self.call("list", None, self.inner.list()).await
    }

    /// Makes the store read-only.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn seal(&mut self) -> Result<(), SealError> {
        let operation = self.start("seal", None);
        operation.run_with(self.inner.seal(), outcome::of_result).await
    }

    /// Replaces the name and the description of an object.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn update_metadata<A: AsRef<str>>(
        &self,
        object: A,
        metadata: UpdateMetadata,
    ) -> Result<ObjectInfo, UpdateMetadataError> {
        let name = object.as_ref();
        self.call("update_metadata", Some(name), self.inner.update_metadata(name, metadata)).await
    }

    /// Adds a link to an object.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn add_link<T, O>(&self, name: T, object: O) -> Result<ObjectInfo, AddLinkError>
    where
        T: ToString,
        O: AsObjectInfo,
    {
        let name = name.to_string();
        self.call("add_link", Some(&name), self.inner.add_link(&name, object)).await
    }

    /// Adds a link to a bucket.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn add_bucket_link<T: ToString, U: ToString>(
        &self,
        name: T,
        bucket: U,
    ) -> Result<ObjectInfo, AddLinkError> {
        let name = name.to_string();
        self.call("add_bucket_link", Some(&name), self.inner.add_bucket_link(&name, bucket)).await
    }

    fn start(&self, operation: &'static str, object: Option<&str>) -> MessagingOperation {
        let operation = self.destination.custom(operation);
        operation.start(&opentelemetry::Context::current(), |attributes| {
            if let Some(object) = object {
                set_object(attributes, object);
            }
        })
    }

    /// Runs an operation of async-nats inside a span.
    async fn call<T, K>(
        &self,
        operation: &'static str,
        object: Option<&str>,
        call: impl Future<Output = Result<T, Error<K>>>,
    ) -> Result<T, Error<K>>
    where
        K: Clone + Debug + Display + PartialEq,
    {
        self.start(operation, object).run_with(call, outcome::of_result).await
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStore").field("destination", &self.destination).finish_non_exhaustive()
    }
}

/// Returns a size that the metadata do not exceed in JSON.
fn json_size(meta: &ObjectMetadata) -> usize {
    let texts = meta.metadata.iter().map(|(name, value)| name.len() + value.len() + PER_HEADER);
    let headers = meta.headers.iter().flat_map(HeaderMap::iter).map(|(name, values)| {
        let values = values.iter().map(|value| value.as_str().len() + PER_HEADER);
        AsRef::<str>::as_ref(name).len() + PER_HEADER + values.sum::<usize>()
    });
    let description = meta.description.as_ref().map_or(0, String::len);
    FRAME + ESCAPED * (meta.name.len() + description + texts.sum::<usize>() + headers.sum::<usize>())
}

struct OutboundObject<'o> {
    name: &'o str,
    headers: OutboundHeaders,
}

impl otel_messaging::OutboundMessage for OutboundObject<'_> {
    type Headers = OutboundHeaders;

    fn headers(&self) -> Option<&OutboundHeaders> {
        self.headers.0.is_some().then_some(&self.headers)
    }

    fn headers_mut(&mut self) -> &mut OutboundHeaders {
        &mut self.headers
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        set_object(attributes, self.name);
    }
}

/// async-nats' `Watch`, a stream of updates.
#[must_use = "streams do nothing unless polled"]
pub struct Watch {
    inner: bare::Watch,
    store: ObjectStore,
    replayed: bool,
    /// The start of the wait for the next update, if receiving is recorded as spans.
    wait: Option<StartTime>,
}

impl Stream for Watch {
    type Item = Result<ObjectUpdate, WatcherError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.wait.is_none() {
            self.wait = self.store.nats.messaging().receive_start();
        }
        let received = ready!(Pin::new(&mut self.inner).poll_next(cx));
        let wait = self.wait.take();
        let (destination, replayed) = (self.store.destination.clone(), self.replayed);
        Poll::Ready(match received {
            None => None,
            Some(Ok(info)) => {
                let update = ObjectUpdate { info, destination, carried: CarriedContext::new(), replayed };
                record_received(&update, RECEIVE, wait);
                Some(Ok(update))
            }
            Some(Err(error)) => {
                let outcome = Outcome::from_variant(&error.kind());
                record_receive_error(self.store.nats.messaging(), RECEIVE, wait, &outcome);
                Some(Err(error))
            }
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The new metadata of an object: async-nats' `ObjectInfo`, to which it dereferences, with methods that record processing.
///
/// The `process` span links to the put of the object.
#[derive(Clone, Debug)]
pub struct ObjectUpdate {
    info: ObjectInfo,
    destination: Destination,
    carried: CarriedContext,
    replayed: bool,
}

impl ObjectUpdate {
    /// Runs `handler` on the update inside a `process` span, whose context is current in the handler.
    ///
    /// The span ends with the outcome of the handler's output ([`HandlerOutcome`]), as `cancelled` if this future is
    /// dropped, or as `panic` if the handler panics.
    pub async fn process<T: HandlerOutcome>(&self, handler: impl AsyncFnOnce(&Self) -> T) -> T {
        self.processing().run(async { handler(self).await }).await
    }

    /// Starts the `process` span of the update, for handlers that are not closures or not async.
    pub fn processing(&self) -> MessagingOperation {
        start_processing(self)
    }

    /// Returns the metadata.
    #[must_use]
    pub fn into_inner(self) -> ObjectInfo {
        self.info
    }
}

impl InboundMessage for ObjectUpdate {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::new(self.info.headers.as_ref())
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        set_object(attributes, &self.info.name);
    }

    fn is_replayed(&self) -> bool {
        self.replayed
    }
}

impl Deref for ObjectUpdate {
    type Target = ObjectInfo;

    fn deref(&self) -> &Self::Target {
        &self.info
    }
}
