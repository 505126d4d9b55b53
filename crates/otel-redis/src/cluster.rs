//! The client of a cluster.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/): `server.address` is the
//! one of the configuration, and not that of the node which answered. Redirections are inside the span of their command.

use redis::{IntoConnectionInfo, RedisResult};

use crate::client::server;
use crate::config::Options;
use crate::connection::Connection;
use crate::instrumentation::{ClientFacts, ClientInstrumentation, ClientSettings};

/// redis' `ClusterClient`, whose connections are recorded.
#[derive(Clone)]
pub struct ClusterClient {
    inner: redis::cluster::ClusterClient,
    settings: ClientSettings,
    instrumentation: ClientInstrumentation,
}

impl ClusterClient {
    /// Creates a client, without connecting, that records to the global providers. The address of the server is recorded if
    /// there is one initial node.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub fn new<T: IntoConnectionInfo>(initial_nodes: impl IntoIterator<Item = T>) -> RedisResult<Self> {
        let nodes = initial_nodes.into_iter().map(IntoConnectionInfo::into_connection_info);
        let nodes = nodes.collect::<RedisResult<Vec<_>>>()?;
        let server = match &nodes[..] {
            [one] => server(one.addr()),
            _ => None,
        };
        let inner = redis::cluster::ClusterClient::new(nodes)?;
        Ok(Self::with_facts(inner, ClientFacts { server, database: None }))
    }

    fn with_facts(inner: redis::cluster::ClusterClient, facts: ClientFacts) -> Self {
        let settings = ClientSettings::new(facts);
        Self { inner, instrumentation: settings.build(), settings }
    }

    /// Sets the options, in place of earlier ones.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.settings.options = options;
        self.instrumentation = self.settings.build();
        self
    }

    /// Records a template of the first key of commands; see [`Connection::with_key_template`].
    #[must_use]
    pub fn with_key_template<F>(mut self, template: F) -> Self
    where
        F: Fn(&str, &[u8]) -> Option<String> + Send + Sync + 'static,
    {
        self.settings.set_template(template);
        self.instrumentation = self.settings.build();
        self
    }

    /// Returns the client of redis, whose connections record nothing.
    #[must_use]
    pub fn inner(&self) -> &redis::cluster::ClusterClient {
        &self.inner
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
    pub fn get_connection(&self) -> RedisResult<Connection<redis::cluster::ClusterConnection>> {
        self.inner.get_connection().map(|connection| self.wrap(connection))
    }

    /// Connects, for asynchronous commands.
    ///
    /// # Errors
    /// Returns the error of redis.
    #[cfg(feature = "cluster-async")]
    pub async fn get_async_connection(
        &self,
    ) -> RedisResult<Connection<redis::cluster_async::ClusterConnection>> {
        Ok(self.wrap(self.inner.get_async_connection().await?))
    }
}

/// Instruments a client that was built with settings of its own. The address of the server is not known.
impl From<redis::cluster::ClusterClient> for ClusterClient {
    fn from(inner: redis::cluster::ClusterClient) -> Self {
        Self::with_facts(inner, ClientFacts::default())
    }
}

impl std::fmt::Debug for ClusterClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}
