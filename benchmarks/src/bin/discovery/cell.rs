//! The cells of the tables.

use benchmarks::measure::Mode;
use benchmarks::named;

use crate::run;

pub(crate) const PICK: &str = "pick";
pub(crate) const CHANGE: &str = "change";
#[cfg(feature = "comparison")]
pub(crate) const FAULTS: &str = "faults";

named! {
    /// The measured code.
    pub(crate) Candidate {
        /// The service of an endpoint alone.
        Bare = "bare",
        /// tower's `Balance` by pending requests.
        TowerPending = "tower-pending",
        /// tower's `Balance` by latency.
        TowerEwma = "tower-ewma",
        /// otel-discovery, round-robin.
        RoundRobin = "round-robin",
        /// otel-discovery, at random.
        Random = "random",
        /// otel-discovery, by weight.
        Weighted = "weighted",
        /// otel-discovery, by pending calls.
        LeastPending = "least-pending",
    }
}

named! {
    /// The span that is current.
    pub(crate) Variant {
        /// A span that does not record, and a meter provider.
        Unsampled = "unsampled",
        /// A span that records, and a meter provider.
        Sampled = "sampled",
        /// No SDK.
        Nothing = "nothing",
    }
}

impl Candidate {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::RoundRobin | Self::Random | Self::Weighted | Self::LeastPending)
    }

    /// Returns false for a cell that would take the same as in another variant.
    pub(crate) fn has(self, variant: Variant) -> bool {
        self.is_ours() || self == Self::Bare || variant == Variant::Nothing
    }
}

/// Measures the cell given by the arguments: a choice, a change of the endpoints, or one row of the comparison.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    match arguments {
        [PICK, candidate, variant, mode] => {
            let (candidate, variant) = (Candidate::parse(candidate)?, Variant::parse(variant)?);
            let mode = Mode::parse(mode)?;
            candidate.has(variant).then(|| run::pick(candidate, variant, mode))
        }
        [CHANGE, candidate] => {
            let candidate = Candidate::parse(candidate)?;
            candidate.is_ours().then(|| run::change(candidate))
        }
        #[cfg(feature = "comparison")]
        [FAULTS, client] => {
            crate::faults::measure(crate::faults::Client::parse(client)?);
            Some(())
        }
        _ => None,
    }
}
