//! How the journal gets to its Postgres, and the schema that it keeps there.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::PostgresJournal;
use super::connections::Connections;
use crate::error::BoxError;

/// What was ever done to the schema, in order. None of them is changed once it was published.
const MIGRATIONS: [&str; 1] = [include_str!("sql/1.sql")];

/// Until the schema is there, and as long as anybody else is making it.
const MIGRATION_LIMIT: Duration = Duration::from_secs(600);

/// How a journal gets to its Postgres.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) connect: PgConnectOptions,
    pub(super) schema: String,
    pub(super) connections: usize,
    pub(super) timeout: Duration,
}

/// Why a journal in Postgres was not opened, or its tables not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL is none of Postgres.
    #[error("the URL is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url(#[source] BoxError),
    /// The schema's name is not made of 1 to 63 lower-case letters, digits and `_`, or begins with a digit.
    #[error("`{schema}` is no name of a schema: 1 to 63 of a-z, 0-9 and _, and no digit first")]
    Schema {
        /// The name.
        schema: String,
    },
    /// There was no connection, or it was lost, or Postgres refused.
    #[error("Postgres gave no journal")]
    Failed(#[source] BoxError),
    /// The journal's tables are not there, or older than this version of the crate needs.
    #[error(
        "the schema `{schema}` has version {found} of the journal's tables, of {wanted}: run the migrations"
    )]
    NotMigrated {
        /// The schema.
        schema: String,
        /// What is there; 0 if there is nothing.
        found: u32,
        /// What is needed.
        wanted: u32,
    },
    /// The tables are of a later version of this crate.
    #[error(
        "the schema `{schema}` has version {found} of the journal's tables; {known} is the last that is known"
    )]
    TooNew {
        /// The schema.
        schema: String,
        /// What is there.
        found: u32,
        /// What this version of the crate knows.
        known: u32,
    },
}

impl PostgresOptions {
    /// The journal in this database, in the schema `saga`.
    ///
    /// # Errors
    ///
    /// If this is no URL of Postgres.
    pub fn new(url: &str) -> Result<Self, PostgresError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(PostgresError::Url("it has another scheme".into()));
        }
        // The source repeats nothing of the URL, which may hold a password.
        PgConnectOptions::from_str(url).map(Self::from).map_err(|error| PostgresError::Url(error.into()))
    }

    /// Keeps the journal in this schema. Several journals can share a database, each in its own.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How many connections there are at most beside the two that write, 8 if not told. They load, claim and list.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, 1000);
        self
    }

    /// How long Postgres may take for anything before it counts as away, 10 s if not told. Its own `statement_timeout`
    /// is set to this, so that what has taken too long was not done.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(100), Duration::from_secs(3600));
        self
    }

    /// Makes the schema and its tables, or brings them to what this version of the crate needs. Does nothing if they
    /// are. Any number of processes may do this at once. Needs the right to create a schema, or tables in one that is
    /// there; the journal itself only needs to read and write them.
    ///
    /// # Errors
    ///
    /// See [`PostgresError`]. What was begun is then undone.
    pub async fn migrate(&self) -> Result<(), PostgresError> {
        self.check()?;
        let failed = |error: sqlx::Error| PostgresError::Failed(error.into());
        let connections = Connections::new(self.prepared(MIGRATION_LIMIT), MIGRATION_LIMIT, 1);
        let mut connection =
            connections.connect().await.map_err(|error| PostgresError::Failed(error.into()))?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        // One after the other, in the whole database.
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(7019267401518744)");
        lock.execute(&mut *transaction).await.map_err(failed)?;
        // `IF NOT EXISTS` would ask for the right to create it all the same.
        let there = sqlx::query("SELECT FROM pg_namespace WHERE nspname = $1").bind(&self.schema);
        if there.fetch_optional(&mut *transaction).await.map_err(failed)?.is_none() {
            let create = AssertSqlSafe(format!("CREATE SCHEMA \"{}\"", self.schema));
            sqlx::raw_sql(create).execute(&mut *transaction).await.map_err(failed)?;
        }
        let found = found(&mut transaction, &self.schema).await?;
        self.not_newer(found)?;
        if found == 0 {
            let versions =
                "CREATE TABLE migration (version integer PRIMARY KEY, applied timestamptz NOT NULL)";
            sqlx::raw_sql(versions).execute(&mut *transaction).await.map_err(failed)?;
        }
        for (version, migration) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
            sqlx::raw_sql(migration).execute(&mut *transaction).await.map_err(failed)?;
            let note = sqlx::query("INSERT INTO migration VALUES ($1, now())").bind(i64::from(version));
            note.execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Opens the journal, whose tables have to be there. The tasks that write for it are spawned on this runtime, and
    /// end when it is dropped.
    ///
    /// # Errors
    ///
    /// See [`PostgresError`].
    ///
    /// # Panics
    ///
    /// As [`tokio::spawn`] does, outside of a tokio runtime.
    pub async fn connect(&self) -> Result<PostgresJournal, PostgresError> {
        self.check()?;
        let connections = Connections::new(self.prepared(self.timeout), self.timeout, self.connections);
        let mut connection =
            connections.connect().await.map_err(|error| PostgresError::Failed(error.into()))?;
        let found = found(&mut connection, &self.schema).await?;
        self.not_newer(found)?;
        if found < WANTED {
            let schema = self.schema.clone();
            return Err(PostgresError::NotMigrated { schema, found, wanted: WANTED });
        }
        connections.give_back(connection);
        Ok(PostgresJournal::new(connections, self.to_string()))
    }

    fn check(&self) -> Result<(), PostgresError> {
        let name = self.schema.as_bytes();
        let letters = |byte: &u8| matches!(byte, b'a'..=b'z' | b'_');
        let fits = (1..=63).contains(&name.len())
            && name.first().is_some_and(letters)
            && name.iter().all(|byte| letters(byte) || byte.is_ascii_digit());
        if fits { Ok(()) } else { Err(PostgresError::Schema { schema: self.schema.clone() }) }
    }

    fn not_newer(&self, found: u32) -> Result<(), PostgresError> {
        if found <= WANTED {
            return Ok(());
        }
        Err(PostgresError::TooNew { schema: self.schema.clone(), found, known: WANTED })
    }

    /// What each connection is told, whatever the database's own settings are.
    fn prepared(&self, limit: Duration) -> PgConnectOptions {
        let limit = format!("{}ms", limit.as_millis());
        let name = self.connect.get_application_name().unwrap_or("otel-saga").to_owned();
        self.connect.clone().application_name(&name).disable_statement_logging().options([
            ("search_path", self.schema.as_str()),
            ("statement_timeout", &limit),
            // The compare-and-swap looks again at what it has waited for; a snapshot would fail.
            ("default_transaction_isolation", "read committed"),
            // Every statement has its index. Statistics of tables that have just been empty know better.
            ("enable_seqscan", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ])
    }
}

/// The version that this one is written for.
const WANTED: u32 = MIGRATIONS.len() as u32;

/// The version of the tables that are there, 0 without any.
async fn found(connection: &mut PgConnection, schema: &str) -> Result<u32, PostgresError> {
    let failed = |error: sqlx::Error| PostgresError::Failed(error.into());
    let table = sqlx::query("SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'migration'");
    if table.bind(schema).fetch_optional(&mut *connection).await.map_err(failed)?.is_none() {
        return Ok(0);
    }
    let version = sqlx::query("SELECT coalesce(max(version), 0) FROM migration");
    let version: i32 =
        version.fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    Ok(u32::try_from(version).unwrap_or_default())
}

impl From<PgConnectOptions> for PostgresOptions {
    fn from(connect: PgConnectOptions) -> Self {
        Self { connect, schema: "saga".to_owned(), connections: 8, timeout: Duration::from_secs(10) }
    }
}

/// Where it is, without the user and the password.
impl fmt::Display for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.connect.get_host(), self.connect.get_port());
        write!(f, "{host}:{port}/{}.{}", self.connect.get_database().unwrap_or_default(), self.schema)
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("journal", &self.to_string())
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .finish()
    }
}
