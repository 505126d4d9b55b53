//! A connection around one of redis, and its options.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/): each command, pipeline
//! and transaction is one operation of a client.

#[cfg(feature = "aio")]
mod asynchronous;
mod blocking;

use std::fmt;

use crate::config::Options;
use crate::instrumentation::{ClientFacts, ClientInstrumentation, ClientSettings};

/// A connection of redis, each of whose commands, pipelines and transactions is recorded.
///
/// It implements redis' traits `ConnectionLike`, blocking (`redis::ConnectionLike`) and asynchronous
/// (`redis::aio::ConnectionLike`), as far as `C` does. So `Commands`, `AsyncCommands`, `Cmd::query`, `Pipeline::query`,
/// `Script::invoke`, `transaction` and iterators over scans work unchanged.
///
/// [`Client`](crate::Client) creates connections that know the server's address.
///
/// ```
/// # #[cfg(feature = "aio")]
/// use redis::AsyncCommands;
///
/// # #[cfg(feature = "aio")]
/// async fn visits(connection: redis::aio::MultiplexedConnection) -> redis::RedisResult<u64> {
///     let mut connection = otel_redis::Connection::new(connection);
///     // A span `INCRBY`, without the key.
///     connection.incr("visits:4711", 1).await
/// }
/// ```
#[derive(Clone)]
pub struct Connection<C> {
    inner: C,
    settings: ClientSettings,
    instrumentation: ClientInstrumentation,
}

impl<C> Connection<C> {
    /// Creates a connection that records to the global providers. The server's address and the index of the database are
    /// not known; [`Client`](crate::Client) knows them, and [`Options`] can set them.
    #[must_use]
    pub fn new(inner: C) -> Self {
        Self::with_settings(inner, ClientSettings::new(ClientFacts::default()))
    }

    pub(crate) fn with_settings(inner: C, settings: ClientSettings) -> Self {
        let instrumentation = settings.build();
        Self { inner, settings, instrumentation }
    }

    pub(crate) fn with_instrumentation(
        inner: C,
        settings: ClientSettings,
        instrumentation: ClientInstrumentation,
    ) -> Self {
        Self { inner, settings, instrumentation }
    }

    /// Sets the options, in place of earlier ones.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.settings.options = options;
        self.instrumentation = self.settings.build();
        self
    }

    /// Records a template of the first key of commands: `user:{id}` for the key `user:4711`, or `None` for nothing. Default:
    /// no key is recorded.
    ///
    /// `template` gets the name of the command and the key. The template becomes part of span names and metrics
    /// (`db.collection.name`), so that it must have a low cardinality, and of `db.query.text`. A panic in it counts as
    /// `None`.
    ///
    /// ```
    /// # fn example<C>(connection: otel_redis::Connection<C>) {
    /// let connection = connection.with_key_template(|_command, key| {
    ///     key.starts_with(b"user:").then(|| "user:{id}".to_owned())
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn with_key_template<F>(mut self, template: F) -> Self
    where
        F: Fn(&str, &[u8]) -> Option<String> + Send + Sync + 'static,
    {
        self.settings.set_template(template);
        self.instrumentation = self.settings.build();
        self
    }

    /// Returns the connection of redis, which records nothing.
    #[must_use]
    pub fn inner(&self) -> &C {
        &self.inner
    }

    /// Returns the connection of redis, mutably: for its own methods, such as those for timeouts.
    pub fn inner_mut(&mut self) -> &mut C {
        &mut self.inner
    }

    /// Returns the connection of redis.
    #[must_use]
    pub fn into_inner(self) -> C {
        self.inner
    }
}

impl<C> fmt::Debug for Connection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("settings", &self.settings).finish_non_exhaustive()
    }
}
