//! The accounts of the customers, in Postgres, or in SQLite where no server is to be had.
//!
//! Each effect is in one transaction with the first answer to its key, as a participant in a saga needs it
//! (`crates/otel-saga/README.md`, "Requirements on participants").

use otel_sqlx::{PgPool, SqlitePool};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;

use crate::Failure;

/// Enough for all orders of a demonstration, in cents.
const RICH: i64 = 1_000_000_000;

/// The money in each account at first, in cents.
const ACCOUNTS: [(&str, i64); 4] = [("ada", RICH), ("ben", 100), ("kim", RICH), ("sam", RICH)];

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS account (customer TEXT PRIMARY KEY, cents BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS charge (key TEXT PRIMARY KEY, is_charged BOOLEAN NOT NULL)",
    "CREATE TABLE IF NOT EXISTS attempt (key TEXT PRIMARY KEY)",
];

/// The accounts. Clones share the connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ledger {
    /// In a server.
    Postgres(PgPool),
    /// In a file.
    Sqlite(SqlitePool),
}

/// Writes the same queries for both databases.
macro_rules! on {
    ($ledger:expr, $pool:ident => $body:expr) => {
        match $ledger {
            Ledger::Postgres($pool) => $body,
            Ledger::Sqlite($pool) => $body,
        }
    };
}

impl Ledger {
    /// Opens the database of this URL, `postgres://…` or `sqlite://…`, and creates what is missing.
    ///
    /// # Errors
    /// Returns an error if the database cannot be opened or written.
    pub async fn open(url: &str) -> Result<Self, Failure> {
        let ledger = if url.starts_with("postgres") {
            Self::Postgres(PgPoolOptions::new().max_connections(8).connect(url).await?.into())
        } else {
            Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect(url).await?.into())
        };
        // Two instances that start at once can create the same table; the second one then finds it.
        while let Err(error) = ledger.prepare().await {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            if !matches!(code.as_deref(), Some("23505" | "42P07")) {
                return Err(error.into());
            }
        }
        Ok(ledger)
    }

    /// Creates what is missing, without telemetry: it is no work of the shop.
    async fn prepare(&self) -> Result<(), sqlx::Error> {
        on!(self, pool => {
            for table in SCHEMA {
                sqlx::query(table).execute(pool.inner()).await?;
            }
            for (customer, cents) in ACCOUNTS {
                let account = "INSERT INTO account (customer, cents) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                sqlx::query(account).bind(customer).bind(cents).execute(pool.inner()).await?;
            }
        });
        Ok(())
    }

    /// Charges an account once for the key. Returns false if it has too little money.
    ///
    /// # Errors
    /// Returns an error of the database.
    pub async fn charge(&self, key: &str, customer: &str, cents: i64) -> Result<bool, sqlx::Error> {
        on!(self, pool => {
            let mut transaction = pool.begin().await?;
            let first = "INSERT INTO charge (key, is_charged) VALUES ($1, FALSE) ON CONFLICT DO NOTHING";
            let first = sqlx::query(first).bind(key).execute(&mut *transaction).await?;
            if first.rows_affected() == 0 {
                let answer = "SELECT is_charged FROM charge WHERE key = $1";
                return sqlx::query_scalar(answer).bind(key).fetch_one(&mut *transaction).await;
            }
            let debit = "UPDATE account SET cents = cents - $1 WHERE customer = $2 AND cents >= $1";
            let debit = sqlx::query(debit).bind(cents).bind(customer).execute(&mut *transaction).await?;
            let is_charged = debit.rows_affected() == 1;
            if is_charged {
                let keep = "UPDATE charge SET is_charged = TRUE WHERE key = $1";
                sqlx::query(keep).bind(key).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(is_charged)
        })
    }

    /// Returns the money in an account in cents, 0 if there is none.
    ///
    /// # Errors
    /// Returns an error of the database.
    pub async fn cents(&self, customer: &str) -> Result<i64, sqlx::Error> {
        on!(self, pool => {
            let cents = "SELECT cents FROM account WHERE customer = $1";
            let cents: Option<i64> = sqlx::query_scalar(cents).bind(customer).fetch_optional(pool).await?;
            Ok(cents.unwrap_or(0))
        })
    }

    /// Remembers an attempt to charge, without telemetry: it is a fault of the demonstration, not a part of the shop. Returns
    /// true if it is the first one of its key.
    ///
    /// # Errors
    /// Returns an error of the database.
    pub async fn is_first_attempt(&self, key: &str) -> Result<bool, sqlx::Error> {
        on!(self, pool => {
            let attempt = "INSERT INTO attempt (key) VALUES ($1) ON CONFLICT DO NOTHING";
            Ok(sqlx::query(attempt).bind(key).execute(pool.inner()).await?.rows_affected() == 1)
        })
    }
}
