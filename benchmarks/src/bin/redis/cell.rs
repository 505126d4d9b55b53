//! The cells of the tables.

use benchmarks::measure::Mode;
use benchmarks::messages::{self, Candidate};
use benchmarks::named;

use crate::run;

named! {
    /// The measured call.
    pub(crate) Side {
        /// `SET` on an asynchronous connection.
        Command = "command",
        /// `GET` with a template of its key.
        Template = "template",
        /// A pipeline of ten commands.
        Pipeline = "pipeline",
        /// `SET` on a blocking connection.
        Blocking = "blocking",
    }
}

impl Side {
    /// Returns false for the floor of calls that it does not implement.
    pub(crate) fn has(self, candidate: Candidate) -> bool {
        candidate != Candidate::Floor || self == Self::Command
    }
}

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    let [side, candidate, variant, mode] = arguments else { return None };
    let (candidate, variant) = messages::parse(candidate, variant)?;
    let (side, mode) = (Side::parse(side)?, Mode::parse(mode)?);
    if !side.has(candidate) {
        return None;
    }
    run::measure(side, candidate, variant, mode);
    Some(())
}
