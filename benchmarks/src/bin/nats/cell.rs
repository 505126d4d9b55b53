//! The cells of the tables.

use benchmarks::measure::Mode;
use benchmarks::{messages, named};

use crate::run;

named! {
    /// The measured operation.
    pub(crate) Side {
        /// Publishes messages.
        Publish = "publish",
        /// Sends requests and waits for their replies.
        Request = "request",
        /// Receives messages of a subscription and, with otel-nats, processes them.
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
