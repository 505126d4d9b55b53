//! Connections that are opened one by one, and share their instrumentation.

use std::fmt;

use otel_database::Options;
use sqlx::{Connection as _, Error};

use crate::client::Client;
use crate::connection::{Connection, RawConnection};
use crate::database::InstrumentedDatabase;

/// Opens instrumented connections without a pool. The statements of all its connections are analyzed once. Cloning keeps
/// that.
pub struct Connector<DB: InstrumentedDatabase> {
    connect_options: <DB::Connection as sqlx::Connection>::Options,
    client: Client,
}

impl<DB: InstrumentedDatabase> Connector<DB> {
    /// Creates a connector with these options of the connections and of their instrumentation.
    #[must_use]
    pub fn new(connect_options: <DB::Connection as sqlx::Connection>::Options, options: Options) -> Self {
        let client = Client::new::<DB>(&connect_options, options);
        Self { connect_options, client }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Those of sqlx.
    pub async fn connect(&self) -> Result<Connection<DB>, Error> {
        let connection = DB::Connection::connect_with(&self.connect_options).await?;
        Ok(Connection { raw: RawConnection::Own(connection), client: self.client.clone(), waited: None })
    }
}

impl<DB: InstrumentedDatabase> Clone for Connector<DB> {
    fn clone(&self) -> Self {
        Self { connect_options: self.connect_options.clone(), client: self.client.clone() }
    }
}

impl<DB: InstrumentedDatabase> fmt::Debug for Connector<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options of a connection have a password.
        f.debug_struct("Connector").field("system", &DB::SYSTEM).finish_non_exhaustive()
    }
}
