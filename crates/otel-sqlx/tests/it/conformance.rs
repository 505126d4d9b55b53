//! The suite that all transports share, on a connection and on a pool of SQLite.

use futures_util::TryStreamExt as _;
use otel_sqlx::{Options, SqliteConnection, SqlitePool};
use otel_testing::Recorder;
use otel_testing::conformance::database;
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;
use sqlx::{AssertSqlSafe, Error, Row as _, SqliteExecutor};

use crate::support::{bare_pool, defaults};

const NO_USER_CODE: Reason = "a driver runs no code of the application that could panic.";

const POOL_IS_MEASURED: Reason =
    "the metrics of a pool are recorded for queries that a filter leaves out, too.";

mod connections {
    otel_testing::conformance!(outbound, super::Queries::on_connection);
}

mod pools {
    otel_testing::conformance!(outbound, super::Queries::on_pool);
}

struct Queries {
    is_on_pool: bool,
}

impl Queries {
    fn on_connection() -> Self {
        Self { is_on_pool: false }
    }

    fn on_pool() -> Self {
        Self { is_on_pool: true }
    }
}

/// A query that takes this flow, with a value that a peer chose and a secret in it.
fn query(scenario: Scenario) -> String {
    let value = scenario.attacker_value();
    let hidden = format!("WHERE '{value}' <> '{}' /* {value} */", Scenario::SECRET);
    match scenario.flow() {
        // The message of the error has the value.
        Flow::Fails => format!("SELECT [{value}] FROM users {hidden}"),
        // An overflow in the second row.
        Flow::BodyFails | Flow::DroppedByPeer => {
            format!("SELECT CASE id WHEN 2 THEN abs(-9223372036854775808) ELSE id END FROM users {hidden}")
        }
        // Longer than the few polls before it is dropped.
        Flow::DroppedAtAwait => format!(
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000) SELECT count(*) FROM n {hidden}"
        ),
        _ => format!("SELECT id FROM users {hidden}"),
    }
}

async fn run<'e>(
    executor: impl SqliteExecutor<'e>,
    scenario: Scenario,
    probe: &ContextProbe,
) -> Result<Vec<u8>, Error> {
    probe.note(ProbePoint::Call);
    let query = sqlx::query(AssertSqlSafe(query(scenario)));
    let mut rows = query.fetch(executor);
    let mut seen = Vec::new();
    while let Some(row) = rows.try_next().await? {
        seen.extend(row.get::<i64, _>(0).to_string().into_bytes());
        if scenario.flow() == Flow::DroppedByUser {
            break;
        }
    }
    Ok(seen)
}

impl Harness for Queries {
    fn role(&self) -> Role {
        Role::Outbound
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match scenario {
            Scenario::Panic => Err(NO_USER_CODE),
            Scenario::Filtered if self.is_on_pool => Err(POOL_IS_MEASURED),
            _ => database::supports(scenario),
        }
    }

    fn propagates(&self) -> bool {
        false
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        let mut list = database::measurements(flow, true);
        if self.is_on_pool && !list.is_empty() {
            list.push(Measurement::in_flight("db.client.connection.pending_requests").before_operation());
            // Both are no durations of spans.
            list.push(Measurement::sample("db.client.connection.wait_time").before_operation());
            list.push(Measurement::sample("db.client.connection.use_time").before_operation());
        }
        list
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let options: Options = scenario_options!(defaults(recorder), scenario, with_query_summary(_));
        let mut runs = Vec::new();
        for is_instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            let bare = bare_pool().await;
            let flow = scenario.flow();
            let result = match (is_instrumented, self.is_on_pool) {
                (false, _) => flow.drive(run(&bare, scenario, &probe), 2).await,
                (true, true) => {
                    let pool = SqlitePool::new(bare, options.clone());
                    flow.drive(run(&pool, scenario, &probe), 2).await
                }
                (true, false) => {
                    let raw = bare.acquire().await.unwrap().detach();
                    let mut connection = SqliteConnection::new(raw, &bare.connect_options(), options.clone());
                    flow.drive(run(&mut connection, scenario, &probe), 2).await
                }
            };
            let result = result.map_or_else(|ended| ended, CallResult::Value);
            runs.push(Run::new(result, &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare)
    }
}
