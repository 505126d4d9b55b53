//! The spans that survive their process: each is one line of a file, written when it ends.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider, SpanData, SpanExporter};

#[derive(Debug)]
struct File(PathBuf);

impl SpanExporter for File {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            let context = &span.span_context;
            let (trace, id, parent) = (context.trace_id(), context.span_id(), span.parent_span_id);
            // One write, so that the line is complete or missing when the process is killed.
            let line = format!("{trace} {id} {parent} {}\n", span.name);
            let written = OpenOptions::new().create(true).append(true).open(&self.0);
            let written = written.and_then(|mut file| file.write_all(line.as_bytes()));
            written.map_err(|error| {
                opentelemetry_sdk::error::OTelSdkError::InternalFailure(error.to_string())
            })?;
        }
        Ok(())
    }
}

/// An id generator that accepts the ids of interrupted spans, like that of `otel-telemetry`.
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

/// A tracer provider that writes the spans of this process into the folder.
pub(crate) fn provider(folder: &Path) -> SdkTracerProvider {
    let file = File(folder.join(format!("spans-{}", std::process::id())));
    SdkTracerProvider::builder().with_id_generator(Ids::default()).with_simple_exporter(file).build()
}

/// The spans of one trace: their ids, and the parent and the name of each.
#[derive(Default)]
struct Trace {
    ids: HashSet<String>,
    parents: Vec<(String, String)>,
}

/// Counts the spans of all processes, and those whose parent is missing.
pub(crate) fn orphans(folder: &Path) -> Result<(usize, Vec<String>), Box<dyn Error>> {
    let mut traces: HashMap<String, Trace> = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_spans = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("spans-"));
        if !is_spans {
            continue;
        }
        for line in fs::read_to_string(&path)?.lines() {
            if let [trace, id, parent, name] = line.splitn(4, ' ').collect::<Vec<_>>()[..] {
                let trace = traces.entry(trace.to_owned()).or_default();
                trace.ids.insert(id.to_owned());
                trace.parents.push((parent.to_owned(), name.to_owned()));
            }
        }
    }
    let (mut count, mut orphans) = (0, Vec::new());
    for (trace, Trace { ids, parents }) in traces {
        count += parents.len();
        let is_orphan = |parent: &str| parent.bytes().any(|digit| digit != b'0') && !ids.contains(parent);
        let lost = parents.into_iter().filter(|(parent, _)| is_orphan(parent));
        orphans.extend(lost.map(|(parent, name)| format!("{name} of {trace} has no parent {parent}")));
    }
    Ok((count, orphans))
}
