//! The outcome of an operation, from sqlx's errors.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/): the code of
//! the database where it sent one. The text of an error is not recorded, because databases quote values in it.

use std::io;

use otel_database::DatabaseOutcome;
use sqlx::Error;

use crate::database::InstrumentedDatabase;

pub(crate) fn of_result<DB: InstrumentedDatabase, T>(result: &Result<T, Error>) -> DatabaseOutcome {
    match result {
        Ok(_) => DatabaseOutcome::ok(),
        Err(error) => of_error::<DB>(error),
    }
}

pub(crate) fn of_error<DB: InstrumentedDatabase>(error: &Error) -> DatabaseOutcome {
    DatabaseOutcome::error(match error {
        // The database has answered; only the caller expected more of it.
        Error::RowNotFound => return DatabaseOutcome::ok(),
        Error::Database(error) => {
            let own = DB::error_code(&**error);
            let code = own.map(Into::into).or_else(|| error.code());
            return DatabaseOutcome::from_status_code(&code.unwrap_or_default());
        }
        Error::Io(error) => of_io(error.kind()),
        Error::Tls(_) => "tls",
        Error::Protocol(_) => "protocol",
        Error::Configuration(_) => "configuration",
        Error::PoolTimedOut => "pool_timeout",
        Error::PoolClosed => "pool_closed",
        Error::WorkerCrashed => "worker_crashed",
        Error::InvalidArgument(_) | Error::Encode(_) => "encode",
        Error::TypeNotFound { .. } => "type_not_found",
        Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnDecode { .. }
        | Error::Decode(_) => "decode",
        Error::InvalidSavePointStatement | Error::BeginFailed => "transaction_state",
        _ => "_OTHER",
    })
}

fn of_io(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "connection_refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection_reset",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => {
            "connection_closed"
        }
        io::ErrorKind::TimedOut => "timeout",
        _ => "io",
    }
}
