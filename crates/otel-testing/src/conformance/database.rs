//! The parts of a harness that are the same in every client of a database or cache.

use super::{Flow, Measurement, Reason, Scenario};

const NO_HANDLER: Reason = "no user code runs between a query and its answer.";
const NO_FORMAT: Reason = "an answer names no format.";
const NO_LAYERS: Reason = "a client wraps the driver, and none wraps another one.";

/// The reason for all scenarios whose context is in headers.
pub const NO_HEADERS: Reason = "a query has no headers; a comment is an option, and carries no baggage.";

/// Returns `Ok` if the scenario can happen in a client of a database.
///
/// # Errors
/// The reason why it cannot.
pub fn supports(scenario: Scenario) -> Result<(), Reason> {
    match scenario {
        Scenario::SecondOperation => Err(NO_HANDLER),
        Scenario::HostileContentType(_) => Err(NO_FORMAT),
        Scenario::TwoLayers | Scenario::TaskBetweenLayers => Err(NO_LAYERS),
        Scenario::StaleHeaders | Scenario::StaleBaggage | Scenario::CallersHeaders | Scenario::Baggage => {
            Err(NO_HEADERS)
        }
        _ => Ok(()),
    }
}

/// Returns the measurements of one operation. `returns_rows` is true for a query that can return rows: their number is
/// recorded then, whatever its outcome is.
#[must_use]
pub fn measurements(flow: Flow, returns_rows: bool) -> Vec<Measurement> {
    if flow == Flow::DroppedBeforePoll {
        return Vec::new();
    }
    let mut list = vec![Measurement::sample("db.client.operation.duration")];
    list.extend(returns_rows.then_some(Measurement::sample("db.client.response.returned_rows")));
    list
}
