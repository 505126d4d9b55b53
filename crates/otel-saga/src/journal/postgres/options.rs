//! The options of the Postgres journal, and the migrations of its schema.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use otel_sqlx::{Connector, PgConnection};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::PostgresJournal;
use super::connections::Connections;
use crate::error::BoxError;

/// All migrations, in order. A published migration is never changed.
const MIGRATIONS: [&str; 3] =
    [include_str!("sql/1.sql"), include_str!("sql/2.sql"), include_str!("sql/3.sql")];

/// Time limit of each statement of a migration, including the wait for the migration of another process.
const MIGRATION_LIMIT: Duration = Duration::from_secs(600);

/// The connection options of a journal in Postgres.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) connect: PgConnectOptions,
    pub(super) schema: String,
    pub(super) connections: usize,
    pub(super) timeout: Duration,
    /// `None` if statements are not recorded.
    instrumentation: Option<otel_sqlx::Options>,
}

/// The reason for which a journal in Postgres was not opened or not migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL is not a Postgres URL.
    #[error("the URL is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url(#[source] BoxError),
    /// The name of the schema does not consist of 1 to 63 lower-case letters, digits and `_`, or begins with a digit.
    #[error("`{schema}` is no name of a schema: 1 to 63 of a-z, 0-9 and _, and no digit first")]
    Schema {
        /// Name of the schema.
        schema: String,
    },
    /// The connection failed or was lost, or the server returned an error.
    #[error("Postgres gave no journal")]
    Failed(#[source] BoxError),
    /// The journal's tables do not exist, or are older than this version of the crate.
    #[error(
        "the schema `{schema}` has version {found} of the journal's tables, of {wanted}: run the migrations"
    )]
    NotMigrated {
        /// Name of the schema.
        schema: String,
        /// Version of the tables; 0 if there are none.
        found: u32,
        /// Version that this crate needs.
        wanted: u32,
    },
    /// The tables belong to a later version of this crate.
    #[error(
        "the schema `{schema}` has version {found} of the journal's tables; {known} is the last that is known"
    )]
    TooNew {
        /// Name of the schema.
        schema: String,
        /// Version of the tables.
        found: u32,
        /// Latest version that this crate supports.
        known: u32,
    },
}

impl PostgresOptions {
    /// Creates options for the journal in this database, in the schema `saga`.
    ///
    /// # Errors
    ///
    /// Returns an error if this is not a Postgres URL.
    pub fn new(url: &str) -> Result<Self, PostgresError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(PostgresError::Url("it has another scheme".into()));
        }
        // The source of the error repeats no part of the URL, which may contain a password.
        PgConnectOptions::from_str(url).map(Self::from).map_err(|error| PostgresError::Url(error.into()))
    }

    /// Sets the schema (default: `saga`). Several journals can share a database, each in its own schema.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets the maximum number of connections beside the two of the writing tasks and the one of the lease (default: 8).
    /// They load, claim and list.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, 1000);
        self
    }

    /// Sets the time limit of each statement and connection attempt (default: 10 s). The session's
    /// `statement_timeout` is set to it as well, so that the server cancels a statement that exceeds it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(100), Duration::from_secs(3600));
        self
    }

    /// Records the statements of the journal as database spans and metrics, by these options of otel-sqlx. Default: they
    /// are not recorded, because the telemetry of sagas has the duration of each append.
    #[must_use]
    pub fn with_instrumentation(mut self, options: otel_sqlx::Options) -> Self {
        self.instrumentation = Some(options);
        self
    }

    /// Creates the schema and its tables, or upgrades them to this version of the crate. Does nothing if they are
    /// current. Any number of processes may call it at once. It needs the right to create a schema, or tables in an
    /// existing one; the journal itself only needs to read and write them.
    ///
    /// # Errors
    ///
    /// See [`PostgresError`]. After an error nothing is changed.
    pub async fn migrate(&self) -> Result<(), PostgresError> {
        self.check()?;
        let failed = |error: sqlx::Error| PostgresError::Failed(error.into());
        let connections = self.connections(MIGRATION_LIMIT, 1);
        let mut connection =
            connections.connect().await.map_err(|error| PostgresError::Failed(error.into()))?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        // Serializes the migrations of all schemas of the database.
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(7019267401518744)");
        lock.execute(&mut *transaction).await.map_err(failed)?;
        // `IF NOT EXISTS` requires the right to create a schema even if it exists.
        let there = sqlx::query("SELECT FROM pg_namespace WHERE nspname = $1").bind(&self.schema);
        if there.fetch_optional(&mut *transaction).await.map_err(failed)?.is_none() {
            let create = AssertSqlSafe(format!("CREATE SCHEMA \"{}\"", self.schema));
            sqlx::raw_sql(create).execute(&mut *transaction).await.map_err(failed)?;
        }
        // In the transaction as well, because a pooler may have lost the setting of the session.
        let path = AssertSqlSafe(format!("SET LOCAL search_path = \"{}\"", self.schema));
        sqlx::raw_sql(path).execute(&mut *transaction).await.map_err(failed)?;
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

    /// Opens the journal; the tables have to exist. Its writing tasks are spawned on the current runtime and end when
    /// the journal is dropped.
    ///
    /// # Errors
    ///
    /// See [`PostgresError`].
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, like [`tokio::spawn`].
    pub async fn connect(&self) -> Result<PostgresJournal, PostgresError> {
        self.check()?;
        let connections = self.connections(self.timeout, self.connections);
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

    /// Returns connections with this time limit of each statement.
    fn connections(&self, limit: Duration, places: usize) -> Connections {
        let name = self.connect.get_application_name().unwrap_or("otel-saga").to_owned();
        // A pooler refuses parameters that it does not know, such as `extra_float_digits`.
        let options = self.connect.clone().application_name(&name).extra_float_digits(None);
        let instrumentation = self.instrumentation.clone();
        let instrumentation = instrumentation.unwrap_or_else(otel_sqlx::Options::without_recording);
        let connector = Connector::new(options.disable_statement_logging(), instrumentation);
        Connections::new(connector, self.settings(limit), limit, places)
    }

    /// Returns the statement that sets the settings of a session, which override the defaults of the database and the
    /// role. The schema's name contains no character to quote.
    fn settings(&self, limit: Duration) -> String {
        let (schema, limit) = (&self.schema, limit.as_millis());
        let settings = [
            ("search_path", &*format!("\"{schema}\"")),
            ("statement_timeout", &*format!("{limit}ms")),
            // The compare-and-swap re-reads a row after waiting for its lock; a snapshot would fail instead.
            ("default_transaction_isolation", "read committed"),
            // Every statement has an index, but the planner would scan sequentially by statistics from when the
            // tables were empty.
            ("enable_seqscan", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ];
        let set = settings.map(|(name, value)| format!("set_config('{name}', '{value}', false)"));
        // A change has to be durable when its call returns. Of all values of this setting only `off` returns earlier.
        let durable = "CASE WHEN current_setting('synchronous_commit') = 'off' \
                       THEN set_config('synchronous_commit', 'on', false) END";
        format!("SELECT {}, {durable}", set.join(", "))
    }
}

/// The version of the tables that this crate needs.
const WANTED: u32 = MIGRATIONS.len() as u32;

/// Returns the version of the tables; 0 if there are none.
async fn found(connection: &mut PgConnection, schema: &str) -> Result<u32, PostgresError> {
    let failed = |error: sqlx::Error| PostgresError::Failed(error.into());
    let table = sqlx::query("SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'migration'");
    if table.bind(schema).fetch_optional(&mut *connection).await.map_err(failed)?.is_none() {
        return Ok(0);
    }
    // The schema's name was checked.
    let version = format!("SELECT coalesce(max(version), 0) FROM \"{schema}\".migration");
    let version = sqlx::query(AssertSqlSafe(version));
    let version: i32 =
        version.fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    Ok(u32::try_from(version).unwrap_or_default())
}

impl From<PgConnectOptions> for PostgresOptions {
    fn from(connect: PgConnectOptions) -> Self {
        let (schema, timeout) = ("saga".to_owned(), Duration::from_secs(10));
        Self { connect, schema, connections: 8, timeout, instrumentation: None }
    }
}

/// The server, the database and the schema, without the user and the password.
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
