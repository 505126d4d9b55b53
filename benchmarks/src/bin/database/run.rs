//! The measurement of one cell. Only the calling thread is counted: SQLite runs on another one.

use std::hint::black_box;

use benchmarks::measure::Mode;
use benchmarks::messages::{self, Variant};
use benchmarks::sdk::Metrics;
use opentelemetry_sdk::trace::SpanData;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Error, SqliteExecutor};

use crate::cell::{Candidate, Side};
use crate::peer;

const QUERY: &str = "SELECT name FROM users WHERE id = $1";

/// More connections than are ever in use, so that none is waited for.
const CONNECTIONS: u32 = 8;

async fn query<'e>(executor: impl SqliteExecutor<'e>) -> Result<(), Error> {
    let name: String = sqlx::query_scalar(QUERY).bind(1).fetch_one(executor).await?;
    black_box(name);
    Ok(())
}

async fn open() -> Result<sqlx::SqlitePool, Error> {
    let options = SqlitePoolOptions::new().min_connections(CONNECTIONS).max_connections(CONNECTIONS);
    let pool = options.test_before_acquire(false).connect("sqlite::memory:").await?;
    let create =
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO users VALUES (1, 'ana');";
    sqlx::raw_sql(create).execute(&pool).await?;
    Ok(pool)
}

pub(crate) fn measure(side: Side, candidate: Candidate, variant: Variant, mode: Mode) {
    let metrics = if candidate == Candidate::Peer { None } else { variant.install() };
    if candidate == Candidate::Peer {
        peer::install(variant);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    let _entered = runtime.enter();
    let bare = runtime.block_on(open()).expect("the database is opened");
    let _current = peer::attach(variant);
    let run = Run { side, candidate, variant, mode, metrics };
    match candidate {
        Candidate::Bare => {
            let mut connection = runtime.block_on(bare.acquire()).expect("a connection is idle");
            match side {
                Side::Pool => run.measure(async || query(&bare).await),
                Side::Connection => run.measure(async || query(&mut *connection).await),
                Side::Transaction => run.measure(async || {
                    let mut transaction = bare.begin().await?;
                    query(&mut *transaction).await?;
                    transaction.commit().await
                }),
            }
        }
        Candidate::Ours => {
            let pool = otel_sqlx::SqlitePool::from(bare);
            let mut connection = runtime.block_on(pool.acquire()).expect("a connection is idle");
            match side {
                Side::Pool => run.measure(async || query(&pool).await),
                Side::Connection => run.measure(async || query(&mut *connection).await),
                Side::Transaction => run.measure(async || {
                    let mut transaction = pool.begin().await?;
                    query(&mut *transaction).await?;
                    transaction.commit().await
                }),
            }
        }
        Candidate::Peer => {
            let pool = sqlx_otel::PoolBuilder::from(bare).build();
            let mut connection = runtime.block_on(pool.acquire()).expect("a connection is idle");
            match side {
                Side::Pool => run.measure(async || query(&pool).await),
                Side::Connection => run.measure(async || query(&mut connection).await),
                // It records neither the begin nor the commit.
                Side::Transaction => run.measure(async || {
                    let mut transaction = pool.begin().await?;
                    query(&mut transaction).await?;
                    transaction.commit().await
                }),
            }
        }
    }
}

struct Run {
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<Metrics>,
}

impl Run {
    fn measure(&self, mut one: impl AsyncFnMut() -> Result<(), Error>) {
        messages::measure(
            self.mode,
            |spans| self.check(spans),
            |counts| {
                let call = async { one().await.expect("the query succeeds") };
                messages::call(self.variant, counts, call)
            },
        );
    }

    /// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
    fn check(&self, spans: &[SpanData]) {
        let is_sampled = self.variant == Variant::Sampled;
        if self.candidate == Candidate::Peer {
            assert_eq!(peer::ended(), usize::from(is_sampled), "spans of the peer");
            let durations = usize::from(self.variant != Variant::Nothing);
            assert_eq!(peer::durations(), durations, "durations of the peer");
            return;
        }
        let expected: &[&str] = match (self.candidate, self.side) {
            (Candidate::Bare, _) => &[],
            (_, Side::Transaction) => &["BEGIN", "SELECT users", "COMMIT"],
            _ => &["SELECT users"],
        };
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, if is_sampled { expected } else { &[] });
        for span in spans {
            let keys: Vec<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            for key in ["db.system.name", "db.namespace", "db.query.summary", "db.query.text"] {
                assert!(keys.contains(&key), "no {key} in {keys:?}");
            }
        }
        let Some(metrics) = &self.metrics else { return };
        let points = metrics.points();
        let duration = points.iter().filter(|point| point.name == "db.client.operation.duration");
        assert_eq!(duration.map(|point| point.value).sum::<f64>(), expected.len() as f64);
    }
}
