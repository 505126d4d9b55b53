//! The accounts and their entries in Postgres, through a pool of otel-sqlx.

use otel_sqlx::{Options, PgPool};
use serde::Serialize;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection};

use crate::PATIENCE;

/// The owners of the accounts, each of which begins with this balance.
const OWNERS: [&str; 5] = ["ada", "ben", "cleo", "dora", "emil"];
const BALANCE: i64 = 100;

/// The tables, created before the service starts and therefore without spans.
const SCHEMA: &str = "\
CREATE TABLE accounts (id BIGINT PRIMARY KEY, owner TEXT NOT NULL, balance BIGINT NOT NULL CHECK (balance >= 0));
CREATE TABLE entries (id BIGSERIAL PRIMARY KEY, account BIGINT NOT NULL REFERENCES accounts, amount BIGINT NOT NULL)";

#[derive(Clone, Debug)]
pub(crate) struct Store(PgPool);

/// An account with the number of its entries.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Statement {
    pub(crate) owner: String,
    pub(crate) entries: i64,
}

#[derive(sqlx::FromRow)]
struct Account {
    id: i64,
    owner: String,
}

impl Store {
    /// Creates a database of this run, with its accounts.
    pub(crate) async fn create(server: &str, name: &str) -> Result<Self, sqlx::Error> {
        administer(server, &format!("CREATE DATABASE {name}")).await?;
        let bare = PgPoolOptions::new()
            .min_connections(1)
            .max_connections(4)
            .acquire_timeout(PATIENCE)
            .connect(&format!("{server}/{name}"))
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&bare).await?;
        for (id, owner) in (1_i64..).zip(OWNERS) {
            let account = sqlx::query("INSERT INTO accounts VALUES ($1, $2, $3)").bind(id).bind(owner);
            account.bind(BALANCE).execute(&bare).await?;
            let entry = sqlx::query("INSERT INTO entries (account, amount) VALUES ($1, $2)").bind(id);
            entry.bind(BALANCE).execute(&bare).await?;
        }
        // A busy machine may take longer than the default for a connection. The name of the database has the number of the
        // process, which would be in the names of spans.
        let options = Options::new().with_connection_wait_limit(PATIENCE).with_namespace("ledger");
        Ok(Self(PgPool::new(bare, options)))
    }

    /// Drops the database.
    pub(crate) async fn drop(self, server: &str, name: &str) -> Result<(), sqlx::Error> {
        self.0.close().await;
        administer(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await
    }

    /// Moves an amount in one transaction. Returns false if the balance is too low.
    pub(crate) async fn transfer(&self, from: i64, to: i64, amount: i64) -> Result<bool, sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        let taken = sqlx::query("UPDATE accounts SET balance = balance - $2 WHERE id = $1 AND balance >= $2");
        let taken = taken.bind(from).bind(amount).execute(&mut *transaction).await?;
        if taken.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        let given =
            sqlx::query("UPDATE accounts SET balance = balance + $2 WHERE id = $1").bind(to).bind(amount);
        given.execute(&mut *transaction).await?;
        let entries = sqlx::query("INSERT INTO entries (account, amount) VALUES ($1, $2), ($3, $4)");
        let entries = entries.bind(from).bind(-amount).bind(to).bind(amount);
        entries.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(crate) async fn balance(&self, account: i64) -> Result<Option<i64>, sqlx::Error> {
        let balance = sqlx::query_scalar("SELECT balance FROM accounts WHERE id = $1").bind(account);
        balance.fetch_optional(&self.0).await
    }

    /// Returns all statements by one query for the accounts and one for each account: the N+1 query.
    pub(crate) async fn statements_one_by_one(&self) -> Result<Vec<Statement>, sqlx::Error> {
        let accounts =
            sqlx::query_as("SELECT id, owner FROM accounts ORDER BY id").fetch_all(&self.0).await?;
        let mut statements = Vec::new();
        for Account { id, owner } in accounts {
            let entries = sqlx::query_scalar("SELECT count(*) FROM entries WHERE account = $1").bind(id);
            statements.push(Statement { owner, entries: entries.fetch_one(&self.0).await? });
        }
        Ok(statements)
    }

    /// Returns the same statements by one query.
    pub(crate) async fn statements(&self) -> Result<Vec<Statement>, sqlx::Error> {
        let query = "SELECT owner, count(*) AS entries FROM accounts JOIN entries ON account = accounts.id \
                     GROUP BY accounts.id ORDER BY accounts.id";
        sqlx::query_as(query).fetch_all(&self.0).await
    }
}

async fn administer(server: &str, command: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&format!("{server}/postgres")).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(command)).execute(&mut connection).await?;
    connection.close().await
}
