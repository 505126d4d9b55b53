//! The client of one server, which creates connections that know its address.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/): `server.address` and
//! `db.namespace` are those of the client's configuration.

use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};

use crate::config::Options;
use crate::connection::Connection;
use crate::instrumentation::{ClientFacts, ClientInstrumentation, ClientSettings};

/// redis' `Client`, whose connections are recorded.
///
/// All its connections share their options and, within the process, the names that they have prepared.
///
/// ```
/// # #[cfg(feature = "aio")]
/// use redis::AsyncCommands;
///
/// # #[cfg(feature = "aio")]
/// async fn greet() -> redis::RedisResult<()> {
///     let client = otel_redis::Client::open("redis://localhost/")?;
///     let mut connection = client.get_multiplexed_async_connection().await?;
///     // A span `SET localhost`.
///     connection.set("greeting", "hello").await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    inner: redis::Client,
    settings: ClientSettings,
    instrumentation: ClientInstrumentation,
}

impl Client {
    /// Creates a client, without connecting, that records to the global providers.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub fn open<T: IntoConnectionInfo>(params: T) -> RedisResult<Self> {
        redis::Client::open(params).map(Self::from)
    }

    /// Sets the options, in place of earlier ones.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.settings.options = options;
        self.instrumentation = self.settings.build();
        self
    }

    /// Records a template of the first key of commands; see
    /// [`Connection::with_key_template`].
    #[must_use]
    pub fn with_key_template<F>(mut self, template: F) -> Self
    where
        F: Fn(&str, &[u8]) -> Option<String> + Send + Sync + 'static,
    {
        self.settings.set_template(template);
        self.instrumentation = self.settings.build();
        self
    }

    /// Returns the client of redis, whose connections record nothing: for those of publish and subscribe, and for monitors.
    #[must_use]
    pub fn inner(&self) -> &redis::Client {
        &self.inner
    }

    /// Returns the client of redis.
    #[must_use]
    pub fn into_inner(self) -> redis::Client {
        self.inner
    }

    /// Returns the address of the server and the settings of its connections.
    #[must_use]
    pub fn get_connection_info(&self) -> &ConnectionInfo {
        self.inner.get_connection_info()
    }

    /// Wraps a connection of redis, such as that of a pool, which then shares the options and the prepared names of the others.
    #[must_use]
    pub fn wrap<C>(&self, connection: C) -> Connection<C> {
        Connection::with_instrumentation(connection, self.settings.clone(), self.instrumentation.clone())
    }

    /// Connects, for blocking commands.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub fn get_connection(&self) -> RedisResult<Connection<redis::Connection>> {
        self.inner.get_connection().map(|connection| self.wrap(connection))
    }

    /// Connects within this time, for blocking commands.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub fn get_connection_with_timeout(
        &self,
        timeout: Duration,
    ) -> RedisResult<Connection<redis::Connection>> {
        self.inner.get_connection_with_timeout(timeout).map(|connection| self.wrap(connection))
    }
}

#[cfg(feature = "aio")]
impl Client {
    /// Connects, for asynchronous commands.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn get_multiplexed_async_connection(
        &self,
    ) -> RedisResult<Connection<redis::aio::MultiplexedConnection>> {
        Ok(self.wrap(self.inner.get_multiplexed_async_connection().await?))
    }

    /// Connects with these settings, for asynchronous commands.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn get_multiplexed_async_connection_with_config(
        &self,
        config: &redis::AsyncConnectionConfig,
    ) -> RedisResult<Connection<redis::aio::MultiplexedConnection>> {
        Ok(self.wrap(self.inner.get_multiplexed_async_connection_with_config(config).await?))
    }
}

#[cfg(feature = "connection-manager")]
impl Client {
    /// Connects, for asynchronous commands, and connects again when the connection is lost.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn get_connection_manager(&self) -> RedisResult<Connection<redis::aio::ConnectionManager>> {
        Ok(self.wrap(self.inner.get_connection_manager().await?))
    }

    /// Connects with these settings, as [`get_connection_manager`](Self::get_connection_manager) does.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn get_connection_manager_with_config(
        &self,
        config: redis::aio::ConnectionManagerConfig,
    ) -> RedisResult<Connection<redis::aio::ConnectionManager>> {
        Ok(self.wrap(self.inner.get_connection_manager_with_config(config).await?))
    }

    /// Creates a manager that connects at its first command, with these settings.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub fn get_connection_manager_lazy(
        &self,
        config: redis::aio::ConnectionManagerConfig,
    ) -> RedisResult<Connection<redis::aio::ConnectionManager>> {
        Ok(self.wrap(self.inner.get_connection_manager_lazy(config)?))
    }
}

impl From<redis::Client> for Client {
    fn from(inner: redis::Client) -> Self {
        let info = inner.get_connection_info();
        let settings = ClientSettings::new(ClientFacts {
            server: server(info.addr()),
            database: Some(info.redis_settings().db()),
        });
        Self { instrumentation: settings.build(), inner, settings }
    }
}

/// Returns the address of a server. A Unix socket has a path and no port, which is then that of Redis, and not recorded.
pub(crate) fn server(address: &ConnectionAddr) -> Option<(String, u16)> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        ConnectionAddr::Unix(path) => Some((path.display().to_string(), crate::instrumentation::PORT)),
        _ => None,
    }
}
