//! The address of Postgres, and a separate database per test.

use std::sync::atomic::{AtomicU64, Ordering};

use otel_saga::journal::{PostgresJournal, PostgresOptions};
use otel_testing::service;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

const START: &str = "start Postgres: `cargo xtask services up postgres`";

fn setting(name: &str) -> String {
    service::setting(name, START)
}

/// A database that is dropped after the test.
pub(crate) struct Scratch {
    server: String,
    name: String,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self::on(&setting("POSTGRES_URL"))
    }

    /// Creates the database on this server.
    pub(crate) fn on(server: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The number of another process can return, after a test that was killed.
        let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let name = format!("otel_saga_{}_{time}_{number}", std::process::id());
        let scratch = Self { server: server.to_owned(), name };
        if let Err(error) = scratch.tell_server(format!("CREATE DATABASE {}", scratch.name)) {
            std::mem::forget(scratch);
            panic!("Postgres at {server} gives no database: {error}; {START}");
        }
        scratch
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::new(&self.url()).unwrap()
    }

    /// Opens a new journal in the schema `saga`.
    pub(crate) async fn journal(&self) -> PostgresJournal {
        let options = self.options();
        options.migrate().await.unwrap();
        options.connect().await.unwrap()
    }

    /// Uses its own thread and runtime, because `drop` also runs outside of a runtime.
    fn tell_server(&self, sql: String) -> Result<(), sqlx::Error> {
        let url = format!("{}/postgres", self.server);
        let told = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&url).await?;
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
                Ok(())
            })
        });
        told.join().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let dropped = self.tell_server(format!("DROP DATABASE {} WITH (FORCE)", self.name));
        if !std::thread::panicking() {
            dropped.unwrap();
        }
    }
}
