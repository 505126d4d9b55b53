//! The counter of resends, for calls that a layer outside of the instrumentation retries.
//!
//! Follows `http.request.resend_count` of the [HTTP semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/): the first attempt has no resend count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A request extension that counts the attempts of one call. Clones share the count.
///
/// A retry layer around a client layer produces one span per attempt. Insert a `ResendCounter` into the request's
/// extensions before the retry layer, so that the span of every attempt after the first carries its resend count.
#[derive(Clone, Debug, Default)]
pub struct ResendCounter(Arc<AtomicU32>);

impl ResendCounter {
    /// Creates the counter of a call that had `attempts` attempts already, for a layer that resends a request without one.
    #[must_use]
    pub fn after(attempts: u32) -> Self {
        Self(Arc::new(AtomicU32::new(attempts)))
    }

    /// Counts one more attempt and returns the number of attempts before it.
    #[must_use]
    pub fn increment(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
