//! The suite that all transports share, mounted on the toy database: the family needs no driver's help to keep it.

use otel_testing::Recorder;
use otel_testing::conformance::database;
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;

use crate::support::{build, defaults};
use crate::toy::{ROWS, ToyClient, ToyDatabase, ToyFault};

mod queries {
    otel_testing::conformance!(outbound, super::Queries::plain);
}

mod commented_queries {
    otel_testing::conformance!(outbound, super::Queries::commented);
}

struct Queries {
    is_commented: bool,
}

impl Queries {
    fn plain() -> Self {
        Self { is_commented: false }
    }

    fn commented() -> Self {
        Self { is_commented: true }
    }
}

fn fault(scenario: Scenario) -> ToyFault {
    match scenario.flow() {
        Flow::Fails => ToyFault::Refuses(format!("refused: {}", scenario.attacker_value())),
        Flow::Panics => ToyFault::Panics,
        Flow::DroppedAtAwait => ToyFault::IsSilent,
        Flow::BodyFails | Flow::DroppedByPeer => ToyFault::FailsMidway,
        _ => ToyFault::None,
    }
}

/// The fields of a query's comment, as the headers that reached the peer.
fn fields(query: &str) -> Vec<(String, Vec<u8>)> {
    let Some((_, comment)) = query.split_once("/*") else { return Vec::new() };
    let fields = comment.trim_end_matches("*/").split(',').filter_map(|field| field.split_once('='));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').replace("%3D", "=").into_bytes()))
        .collect()
}

impl Harness for Queries {
    fn role(&self) -> Role {
        Role::Outbound
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match scenario {
            // What reaches the peer has to have baggage there; `spans.rs` has the rest of the scenario.
            Scenario::Filtered if self.is_commented => Err(database::NO_HEADERS),
            _ => database::supports(scenario),
        }
    }

    fn propagates(&self) -> bool {
        self.is_commented
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        database::measurements(flow, true)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let database = ToyDatabase::new(fault(scenario));
        let options = defaults(recorder).with_query_comments(self.is_commented);
        let hooked = scenario_options!(options, scenario, with_query_summary(_));
        let client = ToyClient { database: &database, instrumentation: build(hooked) };
        // A value that a peer chose, in each place where text can be.
        let value = scenario.attacker_value();
        let query =
            format!("SELECT a FROM t WHERE b = '{value}' AND c = '{}' /* {value} */", Scenario::SECRET);
        let most = if scenario.flow() == Flow::DroppedByUser { 1 } else { ROWS };
        let mut runs = Vec::new();
        for is_instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            let result = match is_instrumented {
                false => scenario.flow().drive(database.rows(&query, most, &probe), 3).await,
                true => scenario.flow().drive(client.rows(&query, most, &probe), 3).await,
            };
            let result = result.map_or_else(|ended| ended, CallResult::Value);
            runs.push(Run::new(result, &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        let last = database.last_query();
        let comment = last.strip_prefix(&*query).unwrap_or_default();
        Observed::new(instrumented, bare).with_sent(fields(comment))
    }
}
