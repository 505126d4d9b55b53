//! OpenTelemetry traces and metrics for sqlx.
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(any(feature = "mysql", feature = "postgres", feature = "sqlite")),
    expect(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "without a database there is nothing to instrument"
    )
)]

mod client;
mod connection;
mod connector;
mod database;
mod executor;
mod outcome;
mod pool;
mod query;
mod row_stream;
mod transaction;

pub use otel_database::{Options, QueryText, SamplerAttributes};

pub use crate::connection::{Connection, PoolConnection};
pub use crate::connector::Connector;
pub use crate::database::InstrumentedDatabase;
#[cfg(feature = "mysql")]
pub use crate::database::{MySqlConnection, MySqlPool, MySqlTransaction};
#[cfg(feature = "postgres")]
pub use crate::database::{PgConnection, PgPool, PgTransaction};
#[cfg(feature = "sqlite")]
pub use crate::database::{SqliteConnection, SqlitePool, SqliteTransaction};
pub use crate::pool::Pool;
pub use crate::transaction::Transaction;
