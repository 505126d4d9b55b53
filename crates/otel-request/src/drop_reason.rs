//! The reason for which a layer drops a call, for the layers inside of it, which see only that they are dropped.
//!
//! Follows `docs/conventions.md`: a call that a time-out ends is `timeout` and not `cancelled`.

use std::cell::Cell;

/// The attribute of the span of a hedged call that lost.
pub(crate) const HEDGE_LOST: &str = "resilience.hedge.lost";

thread_local! {
    static CURRENT: Cell<Option<DropReason>> = const { Cell::new(None) };
}

/// The reason for which a layer drops the future of a call before its end.
///
/// A layer that drops calls on purpose does so inside of [`apply`](Self::apply). All requests that are dropped there, on this
/// thread, record the reason. A call that runs on another task is not dropped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// A time-out or a deadline has passed: `error.type` is `timeout`, for gRPC `DEADLINE_EXCEEDED`.
    Timeout,
    /// Another attempt of a hedged call was faster. The span's status stays unset, and it has the attribute
    /// `resilience.hedge.lost`. `error.type` is the one of a cancellation, so that the attempt never counts as a success.
    HedgeLost,
}

impl DropReason {
    /// Runs code that drops a call for this reason.
    pub fn apply<T>(self, code: impl FnOnce() -> T) -> T {
        struct Restore(Option<DropReason>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self)));
        code()
    }

    /// Returns the reason of the [`apply`](Self::apply) that runs on this thread.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }
}

#[cfg(test)]
mod tests {
    use super::DropReason;

    #[test]
    fn a_reason_ends_with_its_code_also_by_a_panic() {
        assert_eq!(DropReason::current(), None);
        let seen = DropReason::Timeout.apply(|| {
            let inner = DropReason::HedgeLost.apply(DropReason::current);
            (inner, DropReason::current())
        });
        assert_eq!(seen, (Some(DropReason::HedgeLost), Some(DropReason::Timeout)));
        let panicked =
            std::panic::catch_unwind(|| DropReason::Timeout.apply(|| panic!("a drop that panics")));
        assert!(panicked.is_err());
        assert_eq!(DropReason::current(), None);
    }
}
