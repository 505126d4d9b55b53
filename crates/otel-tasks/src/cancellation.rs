//! The reason for which work was cancelled, recorded beside `error.type` = `cancelled`.
//!
//! Follows `docs/conventions.md`.

use std::sync::{Arc, OnceLock};

/// The reason for which work was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// `deadline`: a limit of time has passed.
    Deadline,
    /// `shutdown`: the program or the component is shut down.
    Shutdown,
    /// `caller_gone`: the result has no receiver any more.
    CallerGone,
    /// `sibling_failed`: other work, without which this has no use, has failed.
    SiblingFailed,
}

impl CancelReason {
    /// Returns the value of the attribute `task.cancellation.reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Shutdown => "shutdown",
            Self::CallerGone => "caller_gone",
            Self::SiblingFailed => "sibling_failed",
        }
    }
}

/// The place for the reason of a cancellation, shared by the code that cancels and the spans that are cancelled. Clones share
/// one reason.
///
/// A future does not learn why it is dropped. So the code that is about to drop or abort it sets the reason first, and a span
/// that was given this place ([`TaskSpan::with_cancellation`](crate::TaskSpan::with_cancellation)) records it, if it then ends
/// as `cancelled`.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<OnceLock<CancelReason>>);

impl Cancellation {
    /// Creates a place without a reason.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the reason. The first one stays.
    pub fn set_reason(&self, reason: CancelReason) {
        let _ = self.0.set(reason);
    }

    /// Returns the reason, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<CancelReason> {
        self.0.get().copied()
    }
}
