//! Errors that are recorded once, where they occur, and that carry the ids of that place to where they are logged.
//!
//! Follows the [conventions for exceptions in
//! logs](https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/): the details of an error are a log event, the
//! span has `error.type` and a status.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt as _, TraceId};

use crate::outcome::{class, type_name_or_other};

type BoxError = Box<dyn Error + Send + Sync>;

/// The longest description of a span's status, in bytes.
const MAX_DESCRIPTION: usize = 512;

/// An error that was recorded where it occurred, with the ids of the trace and span in which that was.
///
/// It displays as the error does, and has its causes; `{:#}` adds the causes and the ids. A function that returns it needs no
/// further record of it: the span of each level has `error.type` and the status, that of the origin the description too.
pub struct TracedError(Box<Inner>);

struct Inner {
    error: BoxError,
    error_type: Cow<'static, str>,
    trace_id: TraceId,
    span_id: SpanId,
}

/// Recording of the error of a `Result`, at its origin.
pub trait RecordError<T> {
    /// Records an `Err` in the current context, unless it or one of its causes was recorded before, and adds the ids.
    ///
    /// With the feature `tracing` it is an event with `exception.type`, `exception.message` and the causes as
    /// `exception.stacktrace`. The span that is current gets the chain of causes, up to 512 bytes, as the description of its
    /// status when it ends with this error.
    ///
    /// # Errors
    /// The error itself.
    fn or_record(self) -> Result<T, TracedError>;
}

impl<T, E: Into<BoxError> + 'static> RecordError<T> for Result<T, E> {
    fn or_record(self) -> Result<T, TracedError> {
        self.map_err(TracedError::record)
    }
}

impl TracedError {
    /// Records an error in the current context, as [`RecordError::or_record`] does.
    pub fn record<E: Into<BoxError> + 'static>(error: E) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(recorded) => return *recorded,
            Err(error) => error,
        };
        if let Some(Inner { error_type, trace_id, span_id, .. }) = Self::find(&*error).map(|found| &*found.0)
        {
            let (error_type, trace_id, span_id) = (error_type.clone(), *trace_id, *span_id);
            return Self(Box::new(Inner { error, error_type, trace_id, span_id }));
        }
        let error_type = class(&*error).unwrap_or_else(|| type_name_or_other::<E>().into());
        #[cfg(feature = "tracing")]
        log(&*error, std::any::type_name::<E>());
        let (trace_id, span_id) = current_ids();
        Self(Box::new(Inner { error, error_type, trace_id, span_id }))
    }

    /// Returns the recorded error among an error and its causes.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// Returns the trace in which the error occurred; invalid if no span was current there.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.0.trace_id
    }

    /// Returns the span in which the error occurred; invalid if none was current there.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.0.span_id
    }

    /// Returns the class of the error, the `error.type` of the spans that end with it.
    #[must_use]
    pub fn error_type(&self) -> &Cow<'static, str> {
        &self.0.error_type
    }

    /// Returns the error, if it is of this type.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.error.downcast_ref()
    }

    /// Returns the error without the ids.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        self.0.error
    }

    pub(crate) fn is_of_current_span(&self) -> bool {
        current_ids() == (self.0.trace_id, self.0.span_id)
    }

    /// The chain of causes, bounded.
    pub(crate) fn description(&self) -> String {
        let mut text = Bounded(String::new());
        // It stops with an error at the bound.
        let _ = write_chain(&mut text, &*self.0.error);
        text.0
    }
}

fn current_ids() -> (TraceId, SpanId) {
    Context::map_current(|context| {
        let span = context.span();
        (span.span_context().trace_id(), span.span_context().span_id())
    })
}

/// The error and its causes, outermost first.
pub(crate) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}

fn write_chain(out: &mut impl fmt::Write, error: &(dyn Error + 'static)) -> fmt::Result {
    for (number, error) in chain(error).enumerate() {
        if number > 0 {
            out.write_str(": ")?;
        }
        write!(out, "{error}")?;
    }
    Ok(())
}

struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_DESCRIPTION.saturating_sub(self.0.len());
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(feature = "tracing")]
fn log(error: &(dyn Error + 'static), type_name: &'static str) {
    let causes: Vec<String> = chain(error).skip(1).map(|cause| format!("caused by: {cause}")).collect();
    let causes = (!causes.is_empty()).then(|| causes.join("\n"));
    tracing::error!(
        name: "exception",
        {
            "exception.type" = type_name,
            "exception.message" = %error,
            "exception.stacktrace" = causes,
        },
        "error recorded"
    );
}

impl Error for TracedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.error.source()
    }
}

impl fmt::Display for TracedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return self.0.error.fmt(f);
        }
        write_chain(f, &*self.0.error)?;
        write!(f, " (trace_id={} span_id={})", self.0.trace_id, self.0.span_id)
    }
}

impl fmt::Debug for TracedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedError")
            .field("error", &self.0.error)
            .field("trace_id", &self.0.trace_id)
            .field("span_id", &self.0.span_id)
            .finish()
    }
}
