//! How many spans are open: a span processor that counts.
//!
//! Follows the OpenTelemetry specification, Trace SDK, "Span processor".

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::watch;

/// Counts the spans that have started and not ended, over all services, so that the demonstration can tell when a
/// trace is over. A real service needs nothing like it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenSpans(watch::Sender<usize>);

impl OpenSpans {
    /// Waits until none is open.
    pub(crate) async fn none(&self) {
        // Nothing but the end of the last sender makes this fail, and `self` is one.
        let _ = self.0.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl SpanProcessor for OpenSpans {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {
        self.0.send_modify(|open| *open += 1);
    }

    fn on_end(&self, _span: SpanData) {
        self.0.send_modify(|open| *open -= 1);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
