//! A propagator and a span processor that panic.

use std::time::Duration;

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

/// The propagator of [`Scenario::PanickingPropagator`](super::Scenario::PanickingPropagator): reading and writing panic.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to configure")]
pub struct PanickingPropagator;

#[expect(clippy::panic, reason = "the scenario is about panics")]
impl TextMapPropagator for PanickingPropagator {
    fn inject_context(&self, _: &Context, _: &mut dyn Injector) {
        panic!("the propagator panics");
    }

    fn extract_with_context(&self, _: &Context, _: &dyn Extractor) -> Context {
        panic!("the propagator panics");
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&[])
    }
}

/// The processor of [`Scenario::PanickingProcessor`](super::Scenario::PanickingProcessor).
#[derive(Debug)]
pub(super) struct PanickingProcessor;

#[expect(clippy::panic, reason = "the scenario is about panics")]
impl SpanProcessor for PanickingProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {
        panic!("the span processor panics");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
