//! The instruments. Their attributes are the name of the policy and values of the program.
//!
//! Follows `docs/conventions.md`.

use opentelemetry::metrics::{Counter, Histogram, Meter};

use crate::attributes::{
    BREAKER_TRANSITIONS, HEDGE_ATTEMPTS, HEDGE_WINS, REFUSED_CALLS, RETRY_EXHAUSTED_CALLS, RETRY_RESENDS,
    WAIT_DURATION,
};

/// Bucket boundaries of waits inside a process, in seconds: most are far below a millisecond.
const WAIT_BOUNDARIES: [f64; 12] =
    [0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

#[derive(Debug)]
pub(crate) struct Instruments {
    pub(crate) refused: Counter<u64>,
    pub(crate) waits: Histogram<f64>,
    pub(crate) transitions: Counter<u64>,
    pub(crate) hedge_attempts: Counter<u64>,
    pub(crate) hedge_wins: Counter<u64>,
    pub(crate) resends: Counter<u64>,
    pub(crate) exhausted: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name, unit, description| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        let waits = meter.f64_histogram(WAIT_DURATION).with_unit("s");
        let waits = waits.with_description("Time that calls waited for a place or a permit.");
        Self {
            waits: waits.with_boundaries(WAIT_BOUNDARIES.to_vec()).build(),
            transitions: counter(
                BREAKER_TRANSITIONS,
                "{transition}",
                "Changes of the state of circuit breakers.",
            ),
            refused: counter(REFUSED_CALLS, "{call}", "Calls that a layer refused, which were not sent."),
            hedge_attempts: counter(HEDGE_ATTEMPTS, "{attempt}", "Second attempts of slow calls."),
            hedge_wins: counter(HEDGE_WINS, "{call}", "Calls whose second attempt was faster."),
            resends: counter(RETRY_RESENDS, "{resend}", "Attempts of calls after the first one."),
            exhausted: counter(
                RETRY_EXHAUSTED_CALLS,
                "{call}",
                "Failed calls that a limit kept from being retried.",
            ),
        }
    }
}
