//! The connection: connecting, its options, and its channels.

use std::ops::Deref;

use lapin::uri::AMQPUri;
use lapin::{ConnectionProperties, Result};
use otel_messaging::{MessagingOperation, start_processing_batch};

use crate::amqp::ClientInstrumentation;
use crate::channel::Channel;
use crate::config::Options;
use crate::consumer::Delivery;

/// lapin's `Connection`, to which it dereferences, and whose channels record.
///
/// [`Connection::connect`] creates it, or [`Connection::from`] for a connection of lapin.
#[derive(Debug)]
pub struct Connection {
    inner: lapin::Connection,
    amqp: ClientInstrumentation,
}

impl Connection {
    /// Connects to a broker, whose address is recorded as `server.address` and `server.port`.
    ///
    /// # Errors
    /// Returns the error of lapin.
    ///
    /// ```
    /// use lapin::ConnectionProperties;
    /// use otel_amqp::{Channel, Connection};
    ///
    /// async fn open(uri: &str) -> lapin::Result<Channel> {
    ///     let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    ///     connection.create_channel().await
    /// }
    /// ```
    pub async fn connect(uri: &str, options: ConnectionProperties) -> Result<Self> {
        let server = uri.parse::<AMQPUri>().ok().map(server);
        Ok(Self::new(lapin::Connection::connect(uri, options).await?, server))
    }

    /// Connects to a broker, as [`connect`](Self::connect) does.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn connect_uri(uri: AMQPUri, options: ConnectionProperties) -> Result<Self> {
        let server = server(uri.clone());
        Ok(Self::new(lapin::Connection::connect_uri(uri, options).await?, Some(server)))
    }

    fn new(inner: lapin::Connection, server: Option<(String, u16)>) -> Self {
        Self { inner, amqp: ClientInstrumentation::connected_to(server, Options::new()) }
    }

    /// Replaces the options. Channels that exist keep theirs.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.amqp = self.amqp.with_options(options);
        self
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// Returns the error of lapin.
    pub async fn create_channel(&self) -> Result<Channel> {
        Ok(self.amqp.channel(&self.inner, self.inner.create_channel().await?))
    }

    /// Starts one `process` span for several messages. The span links to each message, and records their number.
    ///
    /// ```
    /// use otel_amqp::{Connection, Delivery};
    ///
    /// async fn all(connection: &Connection, messages: &[Delivery]) {
    ///     connection.processing_batch(messages).run(async { println!("{}", messages.len()) }).await;
    /// }
    /// ```
    pub fn processing_batch(&self, messages: &[Delivery]) -> MessagingOperation {
        start_processing_batch(self.amqp.messaging(), messages)
    }

    /// Returns the connection of lapin.
    #[must_use]
    pub fn into_inner(self) -> lapin::Connection {
        self.inner
    }
}

fn server(uri: AMQPUri) -> (String, u16) {
    (uri.authority.host, uri.authority.port)
}

impl From<lapin::Connection> for Connection {
    /// Instruments a connection of lapin. Its address is unknown; set it with [`Options::with_server`].
    fn from(inner: lapin::Connection) -> Self {
        Self::new(inner, None)
    }
}

impl Deref for Connection {
    type Target = lapin::Connection;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
