//! Errors: recorded once at their origin, with the ids of that place wherever they are logged.

use std::error::Error;
use std::fmt;
use std::io;

use opentelemetry::trace::{SpanId, Status};
use otel_tasks::{RecordError as _, TracedError, in_span};
use otel_testing::Recorder;

use crate::support::{error_type, span};

#[derive(Debug)]
struct LoadError(io::Error);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("user not loaded")
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// An error of an outer level, whose cause is a recorded one.
#[derive(Debug)]
struct PageError(TracedError);

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("page not shown")
    }
}

impl Error for PageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn load() -> Result<(), LoadError> {
    Err(LoadError(io::Error::new(io::ErrorKind::ConnectionRefused, "port 5432")))
}

async fn three_levels(recorder: &Recorder) -> TracedError {
    let origin = async { load().or_record() };
    let middle = async { in_span(span(recorder, "load"), origin).await.map_err(PageError).or_record() };
    in_span(span(recorder, "page"), middle).await.unwrap_err()
}

#[tokio::test]
async fn the_origin_alone_describes_the_error() {
    let recorder = Recorder::new();
    let error = three_levels(&recorder).await;
    let (load, page) = (recorder.span("load"), recorder.span("page"));
    assert_eq!(load.status, Status::error("user not loaded: port 5432"));
    assert_eq!(page.status, Status::error(""), "the outer level is an error without a description");
    for span in [&load, &page] {
        assert_eq!(error_type(span).as_deref(), Some("connection_refused"));
        assert!(span.events.is_empty(), "details of errors are log events");
    }
    assert_eq!(
        (error.trace_id(), error.span_id()),
        (load.span_context.trace_id(), load.span_context.span_id())
    );
    recorder.assert_clean();
}

#[tokio::test]
async fn the_ids_are_shown_where_the_error_is_logged() {
    let recorder = Recorder::new();
    let error = three_levels(&recorder).await;
    assert_eq!(error.to_string(), "page not shown");
    let load = recorder.span("load").span_context;
    let (trace, span) = (load.trace_id(), load.span_id());
    assert_eq!(
        format!("{error:#}"),
        format!("page not shown: user not loaded: port 5432 (trace_id={trace} span_id={span})")
    );
    // From behind a boxed error, as `main` has it.
    let boxed: Box<dyn Error> = Box::new(error);
    assert_eq!(TracedError::find(&*boxed).unwrap().span_id(), span);
    assert!(boxed.downcast_ref::<TracedError>().unwrap().downcast_ref::<PageError>().is_some());
}

#[test]
fn an_error_outside_of_a_span_has_no_ids() {
    let error = load().or_record().unwrap_err();
    assert_eq!(error.span_id(), SpanId::INVALID);
    assert_eq!(error.error_type(), "connection_refused");
    assert_eq!(error.into_inner().to_string(), "user not loaded");
    assert_eq!(Err::<(), _>("a text").or_record().unwrap_err().error_type(), "_OTHER");
    assert_eq!(Err::<(), _>(fmt::Error).or_record().unwrap_err().error_type(), "core::fmt::Error");
}

#[tokio::test]
async fn a_description_is_bounded() {
    let recorder = Recorder::new();
    let long = "é".repeat(400);
    let failing = async { Err::<(), _>(long).or_record() };
    in_span(span(&recorder, "load"), failing).await.unwrap_err();
    assert_eq!(recorder.span("load").status, Status::error("é".repeat(256)));
}
