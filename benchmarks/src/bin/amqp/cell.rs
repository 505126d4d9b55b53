//! The cells of the tables.

use benchmarks::measure::Mode;
use benchmarks::{messages, named};

use crate::run;

named! {
    /// The measured operation.
    pub(crate) Side {
        /// Publishes messages and waits for their confirmations.
        Confirmed = "confirmed",
        /// Publishes messages that the broker does not confirm.
        Publish = "publish",
        /// Receives messages of a queue and, with otel-amqp, processes them.
        Process = "process",
    }
}

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    let [side, candidate, variant, mode] = arguments else { return None };
    let (side, mode) = (Side::parse(side)?, Mode::parse(mode)?);
    let (candidate, variant) = messages::parse(candidate, variant)?;
    run::measure(side, candidate, variant, mode);
    Some(())
}
