//! The instruments. Their attributes are the name of the policy and values of the program.
//!
//! Follows `docs/conventions.md`.

use opentelemetry::metrics::{Counter, Meter};

use crate::attributes::{REFUSED_CALLS, RETRY_EXHAUSTED_CALLS, RETRY_RESENDS};

#[derive(Debug)]
pub(crate) struct Instruments {
    pub(crate) refused: Counter<u64>,
    pub(crate) resends: Counter<u64>,
    pub(crate) exhausted: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name, unit, description| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        Self {
            refused: counter(REFUSED_CALLS, "{call}", "Calls that a layer refused, which were not sent."),
            resends: counter(RETRY_RESENDS, "{resend}", "Attempts of calls after the first one."),
            exhausted: counter(
                RETRY_EXHAUSTED_CALLS,
                "{call}",
                "Failed calls that a limit kept from being retried.",
            ),
        }
    }
}
