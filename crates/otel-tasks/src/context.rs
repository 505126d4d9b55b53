//! The context for code that runs on another thread.
//!
//! Follows the [OpenTelemetry specification of
//! Context](https://opentelemetry.io/docs/specs/otel/context/): it is passed on explicitly where a thread changes.

use opentelemetry::Context;

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
