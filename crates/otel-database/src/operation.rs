//! A database operation: the state that it keeps until its end, and the ways in which it ends.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#span-definition).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanRef;
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, OperationObserver, Outcome};

use crate::attributes::{
    CONNECTION_WAIT_DURATION, CONNECTION_WAIT_EVENT, RESPONSE_RETURNED_ROWS, RESPONSE_STATUS_CODE, number,
};
use crate::outcome::DatabaseOutcome;
use crate::prepared::PreparedStatement;

/// A running database operation.
///
/// It ends exactly once: with the outcome given to [`finish`](Self::finish), as `cancelled` when it is dropped, or as
/// `panic` when a panic unwinds out of [`inside`](Self::inside) or [`run_with`](Self::run_with). Rows that were counted by
/// then are recorded.
///
/// The operation of a statement that the client's filter excludes records nothing, and neither does one that starts while
/// no provider is installed: its code runs in the current context.
#[must_use = "an operation that is dropped ends as cancelled"]
pub struct DatabaseOperation(Option<Operation<OperationState>>);

impl DatabaseOperation {
    #[inline]
    pub(crate) fn recorded(operation: Operation<OperationState>) -> Self {
        Self(Some(operation))
    }

    #[inline]
    pub(crate) fn not_recorded() -> Self {
        Self(None)
    }

    /// Returns true if the operation records nothing.
    #[must_use]
    pub fn is_inert(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the span if it records, for attributes that are known late.
    #[must_use]
    pub fn recording(&self) -> Option<SpanRef<'_>> {
        self.0.as_ref().and_then(Operation::recording)
    }

    /// Returns the context of the operation, or `None` if it records nothing. The context of a span that does not record is
    /// its parent's, because no code of the application runs inside of the operation.
    #[must_use]
    pub fn context(&self) -> Option<&Context> {
        self.0.as_ref().map(Operation::context)
    }

    /// Runs code of the client with the operation's context current, if its span records. A panic in it ends the operation
    /// as `panic`.
    #[inline]
    pub fn inside<T>(&mut self, code: impl FnOnce() -> T) -> T {
        struct OnUnwind<'a>(&'a mut Operation<OperationState>);
        impl Drop for OnUnwind<'_> {
            fn drop(&mut self) {
                self.0.end(&Outcome::panicked());
            }
        }
        match &mut self.0 {
            None => code(),
            Some(operation) if operation.recording().is_some() => operation.inside(|_| code()),
            Some(operation) => {
                let on_unwind = OnUnwind(operation);
                let output = code();
                std::mem::forget(on_unwind);
                output
            }
        }
    }

    /// Counts rows that the operation has returned. An operation that can return rows adds 0 when it starts.
    #[inline]
    pub fn add_rows(&mut self, rows: u64) {
        if let Some(operation) = &mut self.0 {
            let counted = &mut operation.observer_mut().rows;
            *counted = Some(counted.unwrap_or_default().saturating_add(rows));
        }
    }

    /// Records the wait for a connection as an event of the span, if it took longer than
    /// [`Options::with_connection_wait_limit`](crate::Options::with_connection_wait_limit).
    pub fn record_connection_wait(&self, wait: Duration) {
        let Some(operation) = &self.0 else { return };
        if wait > operation.observer().statement.client.options.connection_wait_limit
            && let Some(span) = operation.recording()
        {
            let attributes = vec![KeyValue::new(CONNECTION_WAIT_DURATION, wait.as_secs_f64())];
            span.add_event(CONNECTION_WAIT_EVENT, attributes);
        }
    }

    /// Ends the operation with this outcome.
    pub fn finish(mut self, outcome: &DatabaseOutcome) {
        self.end(outcome);
    }

    /// Ends the operation in place, for one that is part of another value; otherwise see [`finish`](Self::finish). Later
    /// ends have no effect.
    #[inline]
    pub fn end(&mut self, outcome: &DatabaseOutcome) {
        if let Some(operation) = &mut self.0 {
            operation.observer_mut().status_code.clone_from(&outcome.status_code);
            operation.end(&outcome.outcome);
        }
    }
}

impl fmt::Debug for DatabaseOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(operation) => f.debug_tuple("DatabaseOperation").field(operation).finish(),
            None => f.write_str("DatabaseOperation"),
        }
    }
}

/// The state that a recorded operation keeps until its end.
#[derive(Debug)]
pub(crate) struct OperationState {
    statement: Arc<PreparedStatement>,
    rows: Option<u64>,
    status_code: Option<Cow<'static, str>>,
}

impl OperationState {
    pub(crate) fn new(statement: Arc<PreparedStatement>) -> Self {
        Self { statement, rows: None, status_code: None }
    }
}

impl OperationObserver for OperationState {
    fn finish_span(&mut self, span: &SpanRef<'_>, _: &Outcome) {
        if let Some(code) = &self.status_code {
            span.set_attribute(KeyValue::new(RESPONSE_STATUS_CODE, code.clone()));
        }
        if let Some(rows) = self.rows.filter(|_| self.statement.client.options.returned_rows) {
            span.set_attribute(number(RESPONSE_RETURNED_ROWS, rows));
        }
    }

    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        if let Some(instruments) = self.statement.client.instruments.get() {
            let code = self.status_code.as_ref();
            self.statement.series.record(instruments, outcome, code, self.rows, elapsed);
        }
    }
}
