//! Isolation from panics of code that is not ours: hooks of users, propagators, samplers, span processors, instruments.
//!
//! Under `panic = "abort"` nothing is caught: the process ends at the panic, as it does without instrumentation.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `code`; returns `None` if it panics. The panic hook has reported the panic by then.
///
/// Let `code` borrow what it needs and return small values: a value that moves through here is copied. `code` must leave
/// the values that it borrows mutably valid at each point where it can panic.
#[inline]
pub fn catch_panic<T>(code: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(output) => Some(output),
        Err(payload) => {
            forget(payload);
            None
        }
    }
}

/// Leaks the payload, because its own `Drop` can panic as well.
#[cold]
#[inline(never)]
fn forget(payload: Box<dyn Any + Send>) {
    std::mem::forget(payload);
}

#[cfg(test)]
mod tests {
    use super::catch_panic;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("a payload that panics");
        }
    }

    #[test]
    fn a_panic_is_no_value_whatever_its_payload_does() {
        assert_eq!(catch_panic(|| 7), Some(7));
        assert_eq!(catch_panic(|| -> u8 { std::panic::panic_any(PanicsWhenDropped) }), None);
    }

    #[test]
    fn a_panic_inside_of_an_unwinding_drop_does_not_abort() {
        struct Guard;
        impl Drop for Guard {
            fn drop(&mut self) {
                assert_eq!(catch_panic(|| -> u8 { panic!("a hook") }), None);
            }
        }
        let caught = std::panic::catch_unwind(|| {
            let _guard = Guard;
            panic!("user code");
        });
        assert!(caught.is_err());
    }
}
