//! Streams, and the consumers that are created on them.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use async_nats::Error;
use async_nats::jetstream::consumer::{self as bare_consumer, FromConsumer, IntoConsumerConfig};
use async_nats::jetstream::context::{CreateStreamError, GetStreamError};
use async_nats::jetstream::stream as bare;
use async_nats::jetstream::stream::{Config, ConsumerError, Info, InfoError};

use crate::jetstream::consumer::Consumer;
use crate::jetstream::producer::Context;
use crate::nats::ClientInstrumentation;

/// async-nats' `jetstream::stream::Stream`, whose consumers are instrumented. Other methods are available through
/// [`inner`](Self::inner).
#[derive(Clone, Debug)]
pub struct Stream {
    inner: bare::Stream,
    nats: ClientInstrumentation,
}

impl Context {
    /// Returns a stream that exists.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_stream<T: AsRef<str>>(&self, stream: T) -> Result<Stream, GetStreamError> {
        Ok(self.stream(self.inner().get_stream(stream).await?))
    }

    /// Creates a stream.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn create_stream<S>(&self, stream_config: S) -> Result<Stream, CreateStreamError>
    where
        Config: From<S>,
    {
        Ok(self.stream(self.inner().create_stream(stream_config).await?))
    }

    /// Returns a stream, after creating it if it does not exist.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_or_create_stream<S>(&self, stream_config: S) -> Result<Stream, CreateStreamError>
    where
        S: Into<Config>,
    {
        Ok(self.stream(self.inner().get_or_create_stream(stream_config).await?))
    }

    /// Returns a consumer of a stream.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_consumer_from_stream<T, C, S>(
        &self,
        consumer: C,
        stream: S,
    ) -> Result<Consumer<T>, ConsumerError>
    where
        T: FromConsumer + IntoConsumerConfig,
        C: AsRef<str>,
        S: AsRef<str>,
    {
        Ok(self.consumer(self.inner().get_consumer_from_stream(consumer, stream).await?))
    }

    /// Creates a consumer on a stream, or updates it.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn create_consumer_on_stream<C, S>(
        &self,
        config: C,
        stream: S,
    ) -> Result<Consumer<C>, ConsumerError>
    where
        C: IntoConsumerConfig + FromConsumer,
        S: AsRef<str>,
    {
        Ok(self.consumer(self.inner().create_consumer_on_stream(config, stream).await?))
    }

    /// Instruments a consumer of async-nats.
    pub fn consumer<T: IntoConsumerConfig>(&self, inner: bare_consumer::Consumer<T>) -> Consumer<T> {
        Consumer::new(inner, self.nats().clone())
    }

    fn stream(&self, inner: bare::Stream) -> Stream {
        Stream { inner, nats: self.nats().clone() }
    }
}

impl Stream {
    /// Returns the stream of async-nats, for that which this crate does not instrument.
    #[must_use]
    pub fn inner(&self) -> &bare::Stream {
        &self.inner
    }

    /// Asks the server for the present information about the stream.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn info(&mut self) -> Result<&Info, InfoError> {
        self.inner.info().await
    }

    /// Returns the last information about the stream.
    #[must_use]
    pub fn cached_info(&self) -> &Info {
        self.inner.cached_info()
    }

    /// Creates a consumer, or updates it.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn create_consumer<C>(&self, config: C) -> Result<Consumer<C>, ConsumerError>
    where
        C: IntoConsumerConfig + FromConsumer,
    {
        Ok(Consumer::new(self.inner.create_consumer(config).await?, self.nats.clone()))
    }

    /// Returns a consumer that exists.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_consumer<T>(&self, name: &str) -> Result<Consumer<T>, Error>
    where
        T: FromConsumer + IntoConsumerConfig,
    {
        Ok(Consumer::new(self.inner.get_consumer(name).await?, self.nats.clone()))
    }

    /// Returns a consumer, after creating it if it does not exist.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn get_or_create_consumer<T>(&self, name: &str, config: T) -> Result<Consumer<T>, ConsumerError>
    where
        T: FromConsumer + IntoConsumerConfig,
    {
        Ok(Consumer::new(self.inner.get_or_create_consumer(name, config).await?, self.nats.clone()))
    }
}
