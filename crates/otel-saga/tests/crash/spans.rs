//! The spans that survive their process: each is a line in a file as soon as it ends. A span that has not ended is
//! lost with the process, and the next process records it again under its journaled id.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider, SpanData, SpanExporter};

#[derive(Debug)]
struct File(PathBuf);

impl SpanExporter for File {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        for span in batch {
            let context = &span.span_context;
            let (trace, id) = (context.trace_id(), context.span_id());
            writeln!(file, "{trace} {id} {} {}", span.parent_span_id, span.name).unwrap();
        }
        Ok(())
    }
}

/// An id generator like that of `otel-telemetry`.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        otel_operation::take_requested_trace_id().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        otel_operation::take_requested_span_id().unwrap_or_else(|| self.0.new_span_id())
    }
}

pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("spans")
}

pub(crate) fn provider(directory: &Path) -> SdkTracerProvider {
    let builder = SdkTracerProvider::builder().with_id_generator(Ids::default());
    builder.with_simple_exporter(File(file(directory))).build()
}

/// Checks that every journaled attempt has a span, and that every span of the trace has its parent.
pub(crate) fn check(what: &str, directory: &Path, said: &[String]) {
    let trace = said.iter().find_map(|line| line.strip_prefix("trace ")).unwrap();
    let [_, trace, start, _] = trace.split('-').collect::<Vec<_>>()[..] else { panic!("{trace}") };
    let text = std::fs::read_to_string(file(directory)).unwrap();
    let spans: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    let spans: Vec<_> = spans.into_iter().filter(|span| span[0] == trace).collect();
    let is_there = |id: &str| spans.iter().any(|span| span[1] == id);
    assert!(is_there(start), "{what}: the start is lost: {text}");
    for span in &spans {
        let is_root = span[2].bytes().all(|digit| digit == b'0');
        assert_eq!(is_root, span[1] == start, "{what}: {span:?}");
        assert!(is_root || is_there(span[2]), "{what}: {span:?} hangs on nothing: {text}");
    }
    let intents: Vec<&str> = said.iter().filter_map(|line| line.strip_prefix("intent ")).collect();
    for intent in intents {
        assert!(is_there(intent), "{what}: nothing is told of the attempt {intent}: {text}");
    }
}
