//! The client: connecting, its options, and what it forwards to async-nats without recording.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::{
    FlushError, ReconnectError, ServerPoolError, SetServerPoolError, Statistics, traits,
};
use async_nats::connection::State;
use async_nats::{
    ConnectError, ConnectErrorKind, ConnectOptions, Server, ServerAddr, ServerInfo, ToServerAddrs,
};
use otel_messaging::{MessagingOperation, start_processing_batch};

use crate::attributes::INBOX;
use crate::config::Options;
use crate::consumer::Message;
use crate::nats::{ClientFacts, ClientInstrumentation};

/// async-nats' `Client`, whose messages carry their context. Cloning is cheap.
///
/// [`connect`] creates it, or [`Client::from`] for a client of async-nats. It does not dereference to that client, because
/// the extensions of async-nats for it (JetStream, services) record nothing; [`inner`](Self::inner) returns it.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) inner: async_nats::Client,
    pub(crate) nats: ClientInstrumentation,
}

/// Connects to a server with the default options of async-nats. If `addrs` is a single address, it is recorded as
/// `server.address` and `server.port`.
///
/// # Errors
/// Returns the error of async-nats.
pub async fn connect<A: ToServerAddrs>(addrs: A) -> Result<Client, ConnectError> {
    connect_with_options(addrs, ConnectOptions::default()).await
}

/// Connects to a server with options of async-nats, as [`connect`] does.
///
/// # Errors
/// Returns the error of async-nats.
pub async fn connect_with_options<A: ToServerAddrs>(
    addrs: A,
    options: ConnectOptions,
) -> Result<Client, ConnectError> {
    let addrs: Vec<ServerAddr> = addrs
        .to_server_addrs()
        .map_err(|error| ConnectError::with_source(ConnectErrorKind::ServerParse, error))?
        .collect();
    let server = match &*addrs {
        [single] if !single.host().is_empty() => Some((single.host().to_owned(), single.port())),
        _ => None,
    };
    let inner = async_nats::connect_with_options(addrs, options).await?;
    Ok(Client::new(inner, server))
}

impl From<async_nats::Client> for Client {
    /// Instruments a client of async-nats. Its address is unknown; set it with [`Options::with_server`].
    fn from(inner: async_nats::Client) -> Self {
        Self::new(inner, None)
    }
}

impl Client {
    fn new(inner: async_nats::Client, server: Option<(String, u16)>) -> Self {
        let inbox = inner.new_inbox();
        let inbox_prefix = inbox.rsplit_once('.').map_or(INBOX, |(prefix, _)| prefix).to_owned();
        let nats = ClientInstrumentation::new(ClientFacts { server, inbox_prefix }, Options::new());
        Self { inner, nats }
    }

    /// Replaces the options. Subscriptions that exist keep theirs.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.nats = self.nats.with_options(options);
        self
    }

    /// Returns the client of async-nats, for that which this crate does not instrument.
    #[must_use]
    pub fn inner(&self) -> &async_nats::Client {
        &self.inner
    }

    /// Starts one `process` span for several messages. The span links to each message, and records their number.
    ///
    /// ```
    /// use otel_nats::{Client, Message};
    ///
    /// async fn all(client: &Client, messages: &[Message]) {
    ///     client.processing_batch(messages).run(async { println!("{}", messages.len()) }).await;
    /// }
    /// ```
    pub fn processing_batch(&self, messages: &[Message]) -> MessagingOperation {
        start_processing_batch(self.nats.messaging(), messages)
    }

    /// Returns the default timeout of requests.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.inner.timeout()
    }

    /// Returns the last information that the server has sent, if any.
    #[must_use]
    pub fn try_server_info(&self) -> Option<ServerInfo> {
        self.inner.try_server_info()
    }

    /// Returns the last information that the server has sent, or an empty one.
    #[must_use]
    pub fn server_info(&self) -> ServerInfo {
        self.inner.server_info()
    }

    /// Returns the largest size of a message, headers included, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.inner.max_payload()
    }

    /// Returns true if the server has at least this version.
    #[must_use]
    pub fn is_server_compatible(&self, major: i64, minor: i64, patch: i64) -> bool {
        self.inner.is_server_compatible(major, minor, patch)
    }

    /// Returns a new subject for replies.
    #[must_use]
    pub fn new_inbox(&self) -> String {
        self.inner.new_inbox()
    }

    /// Waits until the messages that were published have been written to the connection.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.inner.flush().await
    }

    /// Drains all subscriptions, then closes the connection. Messages that were received stay in their subscribers.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn drain(&self) -> Result<(), async_nats::client::DrainError> {
        self.inner.drain().await
    }

    /// Returns the state of the connection.
    #[must_use]
    pub fn connection_state(&self) -> State {
        self.inner.connection_state()
    }

    /// Connects anew.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn force_reconnect(&self) -> Result<(), ReconnectError> {
        self.inner.force_reconnect().await
    }

    /// Replaces the servers to which the client connects. The recorded address stays.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn set_server_pool<A: ToServerAddrs>(&self, addrs: A) -> Result<(), SetServerPoolError> {
        self.inner.set_server_pool(addrs).await
    }

    /// Returns the servers to which the client connects.
    ///
    /// # Errors
    /// Returns the error of async-nats.
    pub async fn server_pool(&self) -> Result<Vec<Server>, ServerPoolError> {
        self.inner.server_pool().await
    }

    /// Returns the statistics of the connection.
    #[must_use]
    pub fn statistics(&self) -> Arc<Statistics> {
        self.inner.statistics()
    }
}

impl traits::TimeoutProvider for Client {
    fn timeout(&self) -> Option<Duration> {
        self.timeout()
    }
}
