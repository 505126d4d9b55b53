//! The number of an attempt, where a layer outside of the instrumentation repeats a call.
//!
//! Follows `http.request.resend_count` of the [HTTP semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/): the first attempt has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the attempts of one call, as a request extension that its clones share.
///
/// Where a retry layer stands around a client's layer, each attempt is a span; put one of these into the request's
/// extensions before the retry layer, and every attempt after the first carries its number.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<AtomicU32>);

impl Attempts {
    /// How many attempts there were before this one, which is counted by being asked for.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
