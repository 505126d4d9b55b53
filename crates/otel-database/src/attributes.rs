//! Names of the database attributes, and [`OperationAttributes`], through which a client adds the attributes of one
//! operation.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/) 1.44. The
//! names are defined here because the published `opentelemetry-semantic-conventions` crate is at schema 1.42.

use std::sync::Arc;

use opentelemetry::{Key, KeyValue, StringValue, Value};

use crate::sql::truncated;

/// The schema URL of these attributes, for the instrumentation scopes of the clients.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The name of a collection: a table, a container.
pub const COLLECTION_NAME: &str = "db.collection.name";
/// The name of the pool of connections, of metrics.
pub const CONNECTION_POOL_NAME: &str = "db.client.connection.pool.name";
/// The state of a connection, `idle` or `used`, of metrics.
pub const CONNECTION_STATE: &str = "db.client.connection.state";
/// The event of a wait for a connection that took longer than
/// [`Options::with_connection_wait_limit`](crate::Options::with_connection_wait_limit). Defined by this crate, not by the
/// conventions.
pub const CONNECTION_WAIT_EVENT: &str = "db.client.connection.wait";
/// The wait for a connection, in seconds, of the event. Defined by this crate, not by the conventions.
pub const CONNECTION_WAIT_DURATION: &str = "db.client.connection.wait.duration";
/// The name of the database.
pub const NAMESPACE: &str = "db.namespace";
/// The number of operations in a batch; never 1.
pub const OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
/// The name of the operation or command.
pub const OPERATION_NAME: &str = "db.operation.name";
/// The summary of a query: its operations and their targets.
pub const QUERY_SUMMARY: &str = "db.query.summary";
/// The text of a query.
pub const QUERY_TEXT: &str = "db.query.text";
/// The number of rows that the operation returned.
pub const RESPONSE_RETURNED_ROWS: &str = "db.response.returned_rows";
/// The status code of the response, such as an SQLSTATE.
pub const RESPONSE_STATUS_CODE: &str = "db.response.status_code";
/// The name of a stored procedure or script.
pub const STORED_PROCEDURE_NAME: &str = "db.stored_procedure.name";
/// The database system, such as `postgresql`.
pub const SYSTEM_NAME: &str = "db.system.name";
/// The network address of the peer.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// The port of the peer.
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
/// The address of the server.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port of the server; absent if it is the default port of the system.
pub const SERVER_PORT: &str = "server.port";

/// The maximum length of a recorded name, in bytes.
const LONGEST: usize = 512;

/// Truncates an attribute value to at most 512 bytes, at a character boundary. Names may come from an untrusted peer.
#[must_use]
pub fn bounded(text: &str) -> &str {
    truncated(text, LONGEST)
}

/// Returns an attribute whose value is truncated to 512 bytes and shared by its clones.
pub(crate) fn shared(key: impl Into<Key>, value: &str) -> KeyValue {
    KeyValue::new(key, Arc::<str>::from(bounded(value)))
}

pub(crate) fn number(key: &'static str, number: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX))
}

/// The attributes of one operation's span. A client adds those that are known only for this operation.
#[derive(Debug)]
pub struct OperationAttributes {
    pub(crate) list: Vec<KeyValue>,
}

impl OperationAttributes {
    /// Adds a client-specific attribute.
    pub fn push(&mut self, attribute: KeyValue) -> &mut Self {
        self.list.push(attribute);
        self
    }

    /// Adds a client-specific attribute whose value may come from an untrusted peer, truncated to 512 bytes.
    pub fn push_bounded(&mut self, key: &'static str, value: &str) -> &mut Self {
        self.push(KeyValue::new(key, bounded(value).to_owned()))
    }

    /// Adds the network address and the port of the peer.
    pub fn peer(&mut self, address: impl Into<StringValue>, port: Option<u16>) -> &mut Self {
        self.list.push(KeyValue::new(NETWORK_PEER_ADDRESS, Value::String(address.into())));
        self.list.extend(port.map(|port| KeyValue::new(NETWORK_PEER_PORT, i64::from(port))));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        let text = "a".repeat(511) + "öö";
        assert_eq!(bounded(&text), "a".repeat(511));
    }
}
