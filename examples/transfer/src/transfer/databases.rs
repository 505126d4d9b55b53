//! Two temporary databases, dropped at the end of the demonstration.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::demo::unique;
use crate::{Failure, PATIENCE};

/// The schema. A balance is the sum of the postings. The foreign key is deferred, so that a missing account is detected
/// by `prepare`.
const TABLES: &str = "
CREATE TABLE account (name text PRIMARY KEY);
CREATE TABLE posting (
    account text NOT NULL REFERENCES account DEFERRABLE INITIALLY DEFERRED,
    cents bigint NOT NULL
);
INSERT INTO account VALUES ('ada');
";

/// The database of one bank.
pub(crate) struct Bank {
    pub(crate) name: String,
    pub(crate) pool: PgPool,
}

pub(crate) struct Databases {
    admin: PgPool,
    pub(crate) checking: Bank,
    pub(crate) savings: Bank,
}

impl Databases {
    pub(crate) async fn create(url: &str) -> Result<Self, Failure> {
        let server: PgConnectOptions = url.parse()?;
        // A pool would retry an unreachable server until its timeout, so a single connection is tried first.
        PgConnection::connect_with(&server).await?.close().await?;
        let admin = connect(server.clone()).await?;
        let unique = unique();
        let names = ["checking", "savings"].map(|name| format!("transfer_{name}_{unique}"));
        match banks(&admin, &server, &names).await {
            Ok([checking, savings]) => Ok(Self { admin, checking, savings }),
            Err(error) => {
                drop_all(&admin, &names).await;
                Err(error)
            }
        }
    }

    /// Returns Ada's balances in cents, and the numbers of prepared transactions, of both databases.
    pub(crate) async fn read_state(&self) -> Result<([i64; 2], [i64; 2]), sqlx::Error> {
        let (mut cents, mut prepared) = ([0; 2], [0; 2]);
        for (number, bank) in [&self.checking, &self.savings].into_iter().enumerate() {
            let query = "SELECT coalesce(sum(cents), 0)::bigint FROM posting WHERE account = 'ada'";
            cents[number] = sqlx::query_scalar(query).fetch_one(&bank.pool).await?;
            let query = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
            prepared[number] = sqlx::query_scalar(query).fetch_one(&bank.pool).await?;
        }
        Ok((cents, prepared))
    }

    /// Drops both databases. Prepared transactions, as a failure leaves them, are rolled back first, because a database
    /// with prepared transactions cannot be dropped.
    pub(crate) async fn drop(self) {
        for bank in [&self.checking, &self.savings] {
            let query = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
            let prepared: Vec<String> =
                sqlx::query_scalar(query).fetch_all(&bank.pool).await.unwrap_or_default();
            for gid in prepared {
                let rollback = format!("ROLLBACK PREPARED '{}'", gid.replace('\'', "''"));
                // If this fails, dropping the database fails as well and prints a warning.
                let _ = sqlx::raw_sql(AssertSqlSafe(rollback)).execute(&bank.pool).await;
            }
        }
        drop_all(&self.admin, &[self.checking.name, self.savings.name]).await;
    }
}

/// Creates a connection pool for a database.
pub(crate) async fn connect(database: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE).connect_with(database).await
}

async fn banks(admin: &PgPool, server: &PgConnectOptions, names: &[String; 2]) -> Result<[Bank; 2], Failure> {
    let (mut pools, mut postings) = (Vec::new(), [10_000, 0].into_iter());
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0")))
            .execute(admin)
            .await?;
        let pool = connect(server.clone().database(name)).await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        super::book(&mut *pool.acquire().await?, "ada", postings.next().unwrap_or_default()).await?;
        pools.push(Bank { name: name.clone(), pool });
    }
    pools.try_into().map_err(|_| "there are two names".into())
}

async fn drop_all(admin: &PgPool, names: &[String; 2]) {
    for name in names {
        // FORCE closes the remaining connections.
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(drop)).execute(admin).await {
            eprintln!("warning: cannot drop database {name}: {error}");
        }
    }
}
