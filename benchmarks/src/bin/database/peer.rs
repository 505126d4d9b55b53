//! The set-up of the peer, which is on an older OpenTelemetry: providers that discard, and the parent of its spans.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use benchmarks::messages::Variant;
use opentelemetry_032::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry_032::{Context, ContextGuard, global};
use opentelemetry_sdk_032::error::OTelSdkResult;
use opentelemetry_sdk_032::metrics::{ManualReader, SdkMeterProvider};
use opentelemetry_sdk_032::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

static ENDED: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Dropping;

impl SpanProcessor for Dropping {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, _span: SpanData) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Installs the providers that the variant has.
pub(crate) fn install(variant: Variant) {
    if variant == Variant::Nothing {
        return;
    }
    global::set_tracer_provider(SdkTracerProvider::builder().with_span_processor(Dropping).build());
    let reader = ManualReader::builder().build();
    global::set_meter_provider(SdkMeterProvider::builder().with_reader(reader).build());
}

/// Returns the number of spans that have ended.
pub(crate) fn ended() -> usize {
    ENDED.load(Ordering::Relaxed)
}

/// Makes the caller's context current.
pub(crate) fn attach(variant: Variant) -> ContextGuard {
    if variant == Variant::Nothing {
        return Context::new().attach();
    }
    let flags = TraceFlags::default().with_sampled(variant == Variant::Sampled);
    let span = SpanContext::new(TraceId::from(7_u128), SpanId::from(7_u64), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span).attach()
}
