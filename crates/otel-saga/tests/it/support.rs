//! Helpers that several tests share: a directory, and an id generator that accepts requested ids.

#[cfg(feature = "redb")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;

/// A directory that is removed after the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("otel-saga-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    #[cfg(feature = "redb")]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sequential ids, except for spans with a requested id, as in `otel-telemetry`.
#[derive(Debug, Default)]
pub(crate) struct Ids(AtomicU64);

impl Ids {
    fn next(&self) -> u64 {
        0x1d5 << 48 | (self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        otel_operation::take_requested_trace_id().unwrap_or_else(|| TraceId::from(u128::from(self.next())))
    }

    fn new_span_id(&self) -> SpanId {
        otel_operation::take_requested_span_id().unwrap_or_else(|| SpanId::from(self.next()))
    }
}
