//! The address of Postgres, and two separate databases with an account each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use otel_saga::RetryPolicy;
use otel_saga::journal::{Journal, MemoryJournal};
use otel_saga::two_phase::{
    Coordinator, CoordinatorBuilder, PostgresBranch, PostgresParticipant, Transaction,
};
use otel_testing::service;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

const START: &str = "start the server: `cargo xtask services up postgres`";

/// Longer than any operation takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// The initial balance of each account.
pub(crate) const BEGIN: i64 = 1000;

fn setting(name: &str) -> String {
    service::setting(name, START)
}

/// Returns the server's URL without a database.
fn server() -> String {
    setting("POSTGRES_URL").trim_end_matches('/').to_owned()
}

pub(crate) fn url(database: &str) -> String {
    format!("{}/{database}", server())
}

pub(crate) async fn pool(database: &str) -> PgPool {
    let options: PgConnectOptions = url(database).parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(LONG).connect_with(options).await;
    pool.unwrap_or_else(|error| panic!("{error}: {START}"))
}

/// Two databases, which are dropped after the test.
pub(crate) struct Banks {
    admin: PgPool,
    pub(crate) names: [String; 2],
    pub(crate) pools: [PgPool; 2],
    pub(crate) participants: [PostgresParticipant; 2],
    /// The coordinator's name, the prefix of its branches.
    pub(crate) coordinator: String,
}

impl Banks {
    pub(crate) async fn new() -> Self {
        let admin = pool("postgres").await;
        let unique =
            format!("{}_{}", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        let names = ["a", "b"].map(|name| format!("twopc_{name}_{unique}"));
        for name in &names {
            // Concurrent copies of the template database fail.
            let begun = Instant::now();
            loop {
                match sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await {
                    Ok(_) => break,
                    Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let coordinator = format!("t{}", &unique[unique.len() - 16..]);
        let banks = Self::open(names, coordinator).await;
        for pool in &banks.pools {
            let table = "CREATE TABLE account (id int PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0))";
            sqlx::raw_sql(table).execute(pool).await.unwrap();
            sqlx::raw_sql("INSERT INTO account VALUES (1, 1000)").execute(pool).await.unwrap();
        }
        banks
    }

    /// Opens the databases that another process has created.
    pub(crate) async fn open(names: [String; 2], coordinator: String) -> Self {
        let pools = [pool(&names[0]).await, pool(&names[1]).await];
        let participants = [
            PostgresParticipant::connect("a", pools[0].clone()).await.unwrap(),
            PostgresParticipant::connect("b", pools[1].clone()).await.unwrap(),
        ];
        Self { admin: pool("postgres").await, names, pools, participants, coordinator }
    }

    pub(crate) fn builder(&self, journal: &Arc<dyn Journal>) -> CoordinatorBuilder {
        let retry = RetryPolicy::exponential(Duration::from_millis(20), Duration::from_millis(200));
        Coordinator::builder(Arc::clone(journal), &*self.coordinator)
            .with_poll_interval(Duration::from_millis(20))
            .with_timeout(Duration::from_secs(30))
            .with_retry(retry)
    }

    /// Starts a coordinator of both, over a journal in memory.
    pub(crate) async fn coordinator(&self) -> Coordinator {
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let [a, b] = self.participants.clone();
        self.builder(&journal).with_participant(a).with_participant(b).start().await.unwrap()
    }

    /// Begins a branch that adds this amount to the account.
    pub(crate) async fn branch(&self, bank: usize, transaction: &Transaction, cents: i64) -> PostgresBranch {
        let mut branch = self.participants[bank].begin(transaction).await.unwrap();
        let add = sqlx::query("UPDATE account SET cents = cents + $1 WHERE id = 1").bind(cents);
        add.execute(branch.connection()).await.unwrap();
        branch
    }

    pub(crate) async fn cents(&self) -> [i64; 2] {
        let mut cents = [0; 2];
        for (cents, pool) in cents.iter_mut().zip(&self.pools) {
            *cents =
                sqlx::query_scalar("SELECT cents FROM account WHERE id = 1").fetch_one(pool).await.unwrap();
        }
        cents
    }

    /// Restores the initial state for a coordinator of another name, because creating a database is slow. No branch
    /// may be prepared.
    pub(crate) async fn reset(&mut self) {
        let left = self.prepared().await;
        assert!(left.is_empty(), "still prepared: {left:?}");
        for bank in 0..2 {
            self.execute(bank, format!("UPDATE account SET cents = {BEGIN}")).await;
        }
        self.coordinator.push('x');
    }

    /// Returns all prepared transactions of both databases.
    pub(crate) async fn prepared(&self) -> Vec<String> {
        let prepared =
            sqlx::query_scalar("SELECT gid FROM pg_prepared_xacts WHERE database = ANY($1) ORDER BY gid");
        prepared.bind(&self.names[..]).fetch_all(&self.admin).await.unwrap()
    }

    pub(crate) async fn execute(&self, bank: usize, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pools[bank]).await.unwrap();
    }

    /// Drops the databases. No branch may be prepared.
    pub(crate) async fn drop(self) {
        let left = self.prepared().await;
        assert!(left.is_empty(), "still prepared: {left:?}");
        for name in &self.names {
            // `FORCE` ends the sessions that are still connected.
            let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
            sqlx::raw_sql(drop).execute(&self.admin).await.unwrap();
        }
    }
}

/// Polls until the condition holds, because it has no notification.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < LONG, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
