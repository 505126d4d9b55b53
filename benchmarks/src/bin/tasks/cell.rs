//! The cells of the tables.

use benchmarks::measure::Mode;
use benchmarks::messages::Variant;
use benchmarks::named;

use crate::run;

named! {
    /// The measured operation.
    pub(crate) Side {
        /// Spawns a task and awaits its end.
        Spawn = "spawn",
        /// Sends an item through a channel and receives it.
        Item = "item",
        /// Sends an item, receives it and runs a handler for it.
        Process = "process",
        /// Calls a function.
        Function = "function",
    }
}

named! {
    /// The measured code.
    pub(crate) Candidate {
        /// The same without telemetry.
        Bare = "bare",
        /// A minimal instrumentation written by hand.
        Floor = "floor",
        /// The time of an item in its channel alone, written by hand.
        Timed = "timed",
        /// otel-tasks: the context alone for a task, the function that needs no macro for a function.
        Ours = "ours",
        /// otel-tasks: a task with a span and metrics.
        Span = "span",
        /// otel-tasks: `#[traced]`.
        Traced = "traced",
    }
}

impl Candidate {
    /// Returns the candidates of an operation.
    pub(crate) fn of(side: Side) -> &'static [Self] {
        match side {
            Side::Spawn => &[Self::Bare, Self::Ours, Self::Span],
            Side::Item => &[Self::Bare, Self::Timed, Self::Floor, Self::Ours],
            Side::Process => &[Self::Bare, Self::Ours],
            Side::Function => &[Self::Bare, Self::Floor, Self::Ours, Self::Traced],
        }
    }

    /// Returns false for a cell whose floor needs an SDK that is not installed, or would take the same as in another variant.
    pub(crate) fn has(self, variant: Variant) -> bool {
        !matches!(self, Self::Floor | Self::Timed) || (variant.has_floor() && cfg!(feature = "comparison"))
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
