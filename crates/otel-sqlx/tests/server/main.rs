//! otel-sqlx on real servers: PostgreSQL and MariaDB.
#![cfg(all(feature = "mysql", feature = "postgres"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod comments;
mod errors;
mod restarts;
mod support;
