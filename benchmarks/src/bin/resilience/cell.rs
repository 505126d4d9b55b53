//! The cells of the tables.

use benchmarks::measure::Mode;
use benchmarks::messages::Variant;
use benchmarks::named;

use crate::run;

named! {
    /// The measured pattern.
    pub(crate) Side {
        /// A retry layer.
        Retry = "retry",
        /// A deadline of a client's call.
        Deadline = "deadline",
        /// A deadline of a server's request.
        Server = "server",
        /// A circuit breaker with a time-out inside.
        Breaker = "breaker",
        /// A bulkhead.
        Bulkhead = "bulkhead",
        /// A rate limit.
        RateLimit = "ratelimit",
        /// Hedging.
        Hedge = "hedge",
    }
}

named! {
    /// The measured code.
    pub(crate) Candidate {
        /// The service without a layer.
        Bare = "bare",
        /// The same pattern of tower or tower-resilience, which records nothing.
        Floor = "floor",
        /// otel-resilience.
        Ours = "ours",
        /// otel-resilience: a retry with a span of the logical call.
        Span = "span",
        /// otel-resilience: a deadline layer without a deadline.
        Unused = "unused",
    }
}

impl Candidate {
    /// Returns the candidates of a pattern.
    pub(crate) fn of(side: Side) -> &'static [Self] {
        match side {
            Side::Retry => &[Self::Bare, Self::Floor, Self::Ours, Self::Span],
            Side::Deadline | Side::Server => &[Self::Bare, Self::Floor, Self::Ours, Self::Unused],
            Side::Breaker | Side::Bulkhead | Side::RateLimit | Side::Hedge => {
                &[Self::Bare, Self::Floor, Self::Ours]
            }
        }
    }

    /// Returns false for a cell that would take the same as in another variant.
    pub(crate) fn has(self, variant: Variant) -> bool {
        self == Self::Ours || self == Self::Span || variant == Variant::Unsampled || self == Self::Bare
    }
}

/// Measures the cell given by the arguments `SIDE CANDIDATE VARIANT MODE`.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    let [side, candidate, variant, mode] = arguments else { return None };
    let (side, candidate) = (Side::parse(side)?, Candidate::parse(candidate)?);
    let (variant, mode) = (Variant::parse(variant)?, Mode::parse(mode)?);
    if !Candidate::of(side).contains(&candidate) || !candidate.has(variant) {
        return None;
    }
    run::measure(side, candidate, variant, mode);
    Some(())
}
