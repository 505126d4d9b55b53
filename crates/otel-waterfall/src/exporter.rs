//! The span exporter, one for each tracer provider.
//!
//! Follows the [Trace SDK, "Span Exporter"](https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-exporter).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::Key;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};

use crate::{
    model::Span,
    sdk::{MAX_ITEMS, clip},
    waterfall::Handle,
};

/// Passes the spans of one tracer provider to a [`Waterfall`](crate::Waterfall); created by
/// [`Waterfall::exporter`](crate::Waterfall::exporter).
///
/// An export does not block, and fails only after shutdown. Shutting down the last exporter draws the remaining
/// spans. `force_flush` does nothing, because spans of other services may still arrive; use
/// [`Waterfall::flush`](crate::Waterfall::flush) instead.
pub struct Exporter {
    handle: Arc<Handle>,
    service: Arc<str>,
    resource: Arc<[(String, String)]>,
    open: AtomicBool,
}

impl Exporter {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, service: Arc::default(), resource: Arc::default(), open: AtomicBool::new(true) }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if !self.open.load(Ordering::Acquire) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        let spans = batch.into_iter().map(|span| {
            Span::from_sdk(span, Arc::clone(&self.service)).with_resource(Arc::clone(&self.resource))
        });
        self.handle.add(spans);
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.handle.close_exporter(&self.open);
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(name) = resource.get(&Key::from_static_str("service.name")) {
            self.service = name.as_str().into();
        }
        self.resource = resource
            .iter()
            .take(MAX_ITEMS)
            .map(|(key, value)| (clip(key.as_str().to_owned()), clip(value.as_str().into_owned())))
            .collect();
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.handle.close_exporter(&self.open);
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("service", &self.service).finish_non_exhaustive()
    }
}
