//! Limits: memory is bounded, and spans that are not kept are counted and reported.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::{
    Context,
    trace::{Span, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_waterfall::Waterfall;

/// A writer whose text the test can read.
#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Longer than any test, so that only `flush` draws.
const NEVER: Duration = Duration::from_secs(100_000);

fn provider(waterfall: &Waterfall) -> SdkTracerProvider {
    SdkTracerProvider::builder().with_simple_exporter(waterfall.exporter()).build()
}

#[test]
fn one_trace_of_a_hundred_thousand_spans() {
    let paper = Paper::default();
    let waterfall = Waterfall::to(paper.clone()).with_quiet(NEVER).with_max_spans(1_000);
    let provider = provider(&waterfall);
    let tracer = provider.tracer("test");
    let root = Context::new().with_span(tracer.start_with_context("root", &Context::new()));
    for _ in 0..100_000 {
        tracer.start_with_context("child", &root).end();
    }
    root.span().end();
    // The root and 875 children, because one eighth is reserved for parents.
    assert_eq!(waterfall.not_kept(), 100_000 - 875);
    waterfall.flush();
    let text = paper.text();
    let header = text.lines().next().unwrap();
    assert!(header.contains("· 876 spans ·"), "{header}");
    assert!(text.contains("99,125 more spans not kept"), "{text}");
    assert!(text.contains("… 677 spans not shown") && text.lines().count() < 210, "{text}");
    // Drawn spans are removed, so that there is room again.
    tracer.start_with_context("next", &Context::new()).end();
    assert_eq!(waterfall.not_kept(), 99_125);
}

#[test]
fn a_hundred_thousand_traces() {
    let paper = Paper::default();
    let waterfall = Waterfall::to(paper.clone()).with_quiet(NEVER).with_max_traces(10);
    let provider = provider(&waterfall);
    let tracer = provider.tracer("test");
    for _ in 0..100_000 {
        tracer.start_with_context("root", &Context::new()).end();
    }
    assert_eq!(waterfall.not_kept(), 99_990);
    waterfall.flush();
    assert_eq!(paper.text().matches("trace ").count(), 10);
    assert!(
        paper.text().ends_with("\n\n99,990 spans of other traces not kept: too many at once\n\n"),
        "{}",
        paper.text()
    );
    waterfall.flush();
    assert_eq!(paper.text().matches("not kept").count(), 1, "said once");
}
