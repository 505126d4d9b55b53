//! The cells of the tables.

use benchmarks::measure::Mode;
use benchmarks::messages::Variant;
use benchmarks::named;

use crate::run;

named! {
    /// The executor of a query.
    pub(crate) Side {
        /// A connection.
        Connection = "connection",
        /// A pool, with the wait for a connection.
        Pool = "pool",
        /// A transaction of one query, on a connection.
        Transaction = "transaction",
    }
}

named! {
    /// The measured crate.
    pub(crate) Candidate {
        /// sqlx.
        Bare = "bare",
        /// sqlx-otel, on OpenTelemetry 0.32.
        Peer = "peer",
        /// otel-sqlx.
        Ours = "ours",
    }
}

impl Candidate {
    /// Returns false for a cell that would take the same as in another variant.
    pub(crate) fn has(self, variant: Variant) -> bool {
        match self {
            Self::Ours => true,
            Self::Bare => variant == Variant::Nothing,
            Self::Peer => variant != Variant::Declared,
        }
    }
}

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    let [side, candidate, variant, mode] = arguments else { return None };
    let (side, candidate) = (Side::parse(side)?, Candidate::parse(candidate)?);
    let (variant, mode) = (Variant::parse(variant)?, Mode::parse(mode)?);
    if !candidate.has(variant) {
        return None;
    }
    run::measure(side, candidate, variant, mode);
    Some(())
}
