//! The log event of an error: one, where it occurred, in that place's span. Alone in its process, because `tracing` keeps the
//! interest in an event for the whole process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_tasks::{Options, RecordError as _, TaskInstrumentation, TaskSpan, in_span};
use otel_testing::Recorder;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// A subscriber that keeps the fields of events, and the span that is current in the OpenTelemetry context.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?}; ", field.name()).unwrap();
    }
}

impl Subscriber for Events {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(format!("{} {}: ", event.metadata().level(), event.metadata().name()));
        event.record(&mut fields);
        let span = Context::map_current(|context| context.span().span_context().span_id());
        write!(fields.0, "span={span}").unwrap();
        self.0.lock().unwrap().push(fields.0);
    }
}

#[derive(Debug)]
struct LoadError(fmt::Error);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("user not loaded")
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn an_error_is_one_event_of_its_origin() {
    let (events, recorder) = (Events::default(), Recorder::new());
    let _subscriber = tracing::subscriber::set_default(events.clone());
    let tasks = TaskInstrumentation::new(Options::new().with_tracer_provider(recorder.tracer_provider()));
    let span = |name| TaskSpan::new(name).with_instrumentation(&tasks);
    let failure = || std::io::Error::other(LoadError(fmt::Error));
    let origin = in_span(span("load"), async { Err::<(), _>(failure()).or_record() });
    in_span(span("page"), async { origin.await.or_record() }).await.unwrap_err();
    let load = recorder.span("load").span_context.span_id();
    let expected = format!(
        "ERROR exception: message=error recorded; exception.type=\"std::io::error::Error\"; \
         exception.message=user not loaded; exception.stacktrace=\"caused by: an error occurred when formatting an argument\"; span={load}"
    );
    assert_eq!(*events.0.lock().unwrap(), [expected]);
}
