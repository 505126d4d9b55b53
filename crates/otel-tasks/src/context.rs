//! The context for code that runs on another thread.
//!
//! Follows the [OpenTelemetry specification of
//! Context](https://opentelemetry.io/docs/specs/otel/context/): it is passed on explicitly where a thread changes.

use opentelemetry::Context;
use otel_operation::catch_panic;

/// Runs `code` with `context` current, on whatever thread: one of rayon, one of `std::thread`, a callback of a C library.
///
/// In rayon, each closure that a thread of the pool can take needs it: while a thread waits inside of `code` for a part of the
/// work, it may run the closures of other callers, which see this context unless they set theirs.
///
/// ```
/// use opentelemetry::Context;
/// use otel_tasks::in_context;
///
/// let context = Context::current();
/// std::thread::spawn(move || in_context(&context, || { /* spans started here have the right parent */ }))
///     .join()
///     .unwrap();
/// ```
pub fn in_context<T>(context: &Context, code: impl FnOnce() -> T) -> T {
    let _attached = context.clone().attach();
    code()
}

/// Returns false while a thread ends and has dropped its current context. To attach one would be a panic then, which aborts the
/// process where a destructor of the thread has dropped the caller, such as a runtime in a thread-local.
pub(crate) fn can_attach() -> bool {
    catch_panic(|| Context::map_current(|_| ())).is_some()
}
