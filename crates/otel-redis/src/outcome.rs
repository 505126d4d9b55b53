//! Conversion of redis' results into the outcome of an operation.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/): the prefix of the
//! server's error is `error.type`. The README lists the classes of other errors.

use std::error::Error;
use std::io;
use std::sync::Arc;

use otel_database::{DatabaseOperation, DatabaseOutcome};
use redis::{ErrorKind, RedisError, RedisResult, ServerError, Value};

use crate::attributes::aborted;
use crate::instrumentation::BatchKind;

/// The error prefixes of Redis and Valkey. A script can return any other, so that those are `_OTHER`.
const PREFIXES: &[&str] = &[
    "ASK",
    "BUSY",
    "BUSYGROUP",
    "BUSYKEY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "INPROG",
    "INVALIDOBJ",
    "IOERR",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOADDR",
    "NOAUTH",
    "NOGOODSLAVE",
    "NOGROUP",
    "NOMASTERLINK",
    "NOPERM",
    "NOPROTO",
    "NOQUORUM",
    "NOREPLICAS",
    "NOSCRIPT",
    "NOSUB",
    "NOTBUSY",
    "OOM",
    "READONLY",
    "REDIRECT",
    "TRYAGAIN",
    "UNBLOCKED",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

/// The class of an error without one of its own.
const OTHER: &str = "_OTHER";

/// Returns the prefix of the server's error if it is a known one.
fn prefix(code: &str) -> Option<&'static str> {
    PREFIXES.binary_search(&code).ok().map(|place| PREFIXES[place])
}

/// Returns the prefix of the server's error that this one reports.
fn prefix_of_error(error: &RedisError) -> Option<&'static str> {
    prefix(error.code()?)
}

/// Returns the `error.type` of this error.
fn error_type(error: &RedisError) -> &'static str {
    if let Some(prefix) = prefix_of_error(error) {
        return prefix;
    }
    match error.kind() {
        ErrorKind::Io => io_class(error),
        ErrorKind::Parse => "protocol",
        ErrorKind::AuthenticationFailed => "authentication_failed",
        ErrorKind::InvalidClientConfig => "invalid_configuration",
        ErrorKind::Client => "client",
        ErrorKind::UnexpectedReturnType => "unexpected_reply",
        ErrorKind::RESP3NotSupported => "resp3_not_supported",
        ErrorKind::ClusterConnectionNotFound => "cluster_node_not_connected",
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => "sentinel",
        _ => OTHER,
    }
}

fn io_class(error: &RedisError) -> &'static str {
    let Some(kind) = io_kind(error) else {
        return if error.is_timeout() { "timeout" } else { "io" };
    };
    match kind {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timeout",
        io::ErrorKind::ConnectionRefused => "connection_refused",
        io::ErrorKind::ConnectionReset => "connection_reset",
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => "connection_closed",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        _ => "io",
    }
}

/// Returns the kind of the I/O error. redis gives its cause as an `Arc`.
fn io_kind(error: &RedisError) -> Option<io::ErrorKind> {
    let source = error.source()?;
    let source = match source.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        Some(shared) => &**shared as &(dyn Error + 'static),
        None => source,
    };
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// Returns the outcome of a command with this reply. The client returns an error of the server as a value, from which its
/// caller makes an error.
pub(crate) fn of_reply(reply: &RedisResult<Value>) -> DatabaseOutcome {
    match reply {
        Ok(Value::ServerError(error)) => of_server_error(error),
        Ok(_) => DatabaseOutcome::ok(),
        Err(error) => of_failure(error),
    }
}

/// Returns the outcome of a pipeline or a transaction with these replies: that of the first error among them.
pub(crate) fn of_replies(replies: &RedisResult<Vec<Value>>) -> DatabaseOutcome {
    let replies = match replies {
        Ok(replies) => replies,
        Err(error) => return of_failure(error),
    };
    let error = replies.iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(error),
        // The replies of a transaction are within that of its `EXEC`.
        Value::Array(replies) => replies.iter().find_map(|reply| match reply {
            Value::ServerError(error) => Some(error),
            _ => None,
        }),
        _ => None,
    });
    error.map_or_else(DatabaseOutcome::ok, of_server_error)
}

/// Returns the outcome of an operation with this result.
#[cfg(feature = "aio")]
pub(crate) fn of_result<T>(result: &RedisResult<T>) -> DatabaseOutcome {
    result.as_ref().map_or_else(of_failure, |_| DatabaseOutcome::ok())
}

fn of_server_error(error: &ServerError) -> DatabaseOutcome {
    prefix(error.code()).map_or_else(|| DatabaseOutcome::error(OTHER), DatabaseOutcome::from_status_code)
}

fn of_failure(error: &RedisError) -> DatabaseOutcome {
    match prefix_of_error(error) {
        Some(prefix) => DatabaseOutcome::from_status_code(prefix),
        None => DatabaseOutcome::error(error_type(error)),
    }
}

/// Marks a transaction that the server did not execute, which is no failure: a watched key was changed.
pub(crate) fn mark_aborted(
    kind: BatchKind,
    operation: &DatabaseOperation,
    replies: &RedisResult<Vec<Value>>,
) {
    let is_aborted = || replies.as_ref().is_ok_and(|replies| matches!(replies[..], [Value::Nil]));
    if kind == BatchKind::Transaction
        && is_aborted()
        && let Some(span) = operation.recording()
    {
        span.set_attribute(aborted());
    }
}

/// Returns the outcome of a message's operation with this result.
#[cfg(feature = "streams")]
pub(crate) mod message {
    use otel_operation::Outcome;
    use redis::{RedisError, RedisResult};

    use super::error_type;

    pub(crate) fn of_error(error: &RedisError) -> Outcome {
        Outcome::error(error_type(error))
    }

    pub(crate) fn of_result<T>(result: &RedisResult<T>) -> Outcome {
        result.as_ref().map_or_else(of_error, |_| Outcome::ok())
    }
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    #[test]
    fn the_prefixes_are_sorted() {
        assert!(PREFIXES.is_sorted());
    }

    #[test]
    fn a_servers_error_is_its_prefix() {
        for (code, expected) in
            [("WRONGTYPE", "WRONGTYPE"), ("OOM", "OOM"), ("hunter2", OTHER), ("MYERR", OTHER), ("", OTHER)]
        {
            let error = make_extension_error(code.to_owned(), Some("hunter2".to_owned()));
            assert_eq!(error_type(&error), expected, "{code}");
        }
    }

    #[test]
    fn an_io_error_is_its_class() {
        for (kind, expected) in [
            (io::ErrorKind::TimedOut, "timeout"),
            (io::ErrorKind::ConnectionRefused, "connection_refused"),
            (io::ErrorKind::ConnectionReset, "connection_reset"),
            (io::ErrorKind::BrokenPipe, "connection_closed"),
            (io::ErrorKind::UnexpectedEof, "connection_closed"),
            (io::ErrorKind::HostUnreachable, "unreachable"),
            (io::ErrorKind::InvalidData, "io"),
        ] {
            assert_eq!(error_type(&RedisError::from(io::Error::from(kind))), expected, "{kind:?}");
        }
    }

    #[test]
    fn errors_of_the_client_have_classes() {
        for (kind, expected) in [
            (ErrorKind::Parse, "protocol"),
            (ErrorKind::AuthenticationFailed, "authentication_failed"),
            (ErrorKind::InvalidClientConfig, "invalid_configuration"),
            (ErrorKind::Client, "client"),
            (ErrorKind::ClusterConnectionNotFound, "cluster_node_not_connected"),
            (ErrorKind::EmptySentinelList, OTHER),
        ] {
            assert_eq!(error_type(&RedisError::from((kind, "a secret"))), expected, "{kind:?}");
        }
    }
}
