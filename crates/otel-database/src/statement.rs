//! A statement of a client and the builder of its operations. Attributes are built only if a sampler reads them or the
//! span records.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#span-definition).

use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, OutboundSpan, SpanStart, StartTime, catch_panic};
use otel_propagation::PropagatorHandle;

use crate::attributes::{OPERATION_BATCH_SIZE, OperationAttributes, number};
use crate::comment::QueryComment;
use crate::operation::{DatabaseOperation, OperationState};
use crate::prepared::PreparedStatement;

/// The capacity reserved for attributes of the operation.
const ROOM: usize = 4;

/// A query or a command of one client, prepared once. Cloning is cheap.
#[derive(Clone)]
pub struct Statement(pub(crate) Arc<PreparedStatement>);

impl Statement {
    /// Returns the name of the statement's spans.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Builds an operation.
    #[must_use]
    #[inline]
    pub fn operation(&self) -> OperationBuilder<'_> {
        OperationBuilder { statement: &self.0, started: None, batch_size: None }
    }

    /// Starts an operation without further parts. `current` is the application's current context, usually
    /// `Context::current()`.
    #[inline]
    pub fn start(&self, current: &Context) -> DatabaseOperation {
        self.operation().start(current, |_| {})
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Statement").field(&self.0.name).finish()
    }
}

/// The builder of an operation, returned by [`Statement::operation`].
#[derive(Debug)]
pub struct OperationBuilder<'s> {
    statement: &'s Arc<PreparedStatement>,
    started: Option<StartTime>,
    batch_size: Option<usize>,
}

impl OperationBuilder<'_> {
    /// Sets the start time of the operation. Default: the time at which [`start`](Self::start) is called.
    #[must_use]
    #[inline]
    pub fn with_started(mut self, started: StartTime) -> Self {
        self.started = Some(started);
        self
    }

    /// Sets the number of operations of a batch, `db.operation.batch.size`. A batch of one is none, and has no such
    /// attribute.
    #[must_use]
    #[inline]
    pub fn with_batch_size(mut self, size: usize) -> Self {
        self.batch_size = Some(size).filter(|size| *size != 1);
        self
    }

    /// Starts the operation. `current` is the application's current context, usually `Context::current()`.
    ///
    /// `attributes` adds the attributes of this operation. It is called at most once, and only if the span records or a
    /// sampler reads attributes. If the client's filter excludes the statement, or no provider is installed, the operation
    /// records nothing.
    #[inline]
    pub fn start(
        self,
        current: &Context,
        attributes: impl FnOnce(&mut OperationAttributes),
    ) -> DatabaseOperation {
        if !self.statement.recorded || self.statement.client.records_nothing() {
            return DatabaseOperation::not_recorded();
        }
        self.start_recorded(current, attributes, |_, _| {})
    }

    /// Starts the operation, and returns the query with a comment of the operation's context, if
    /// [`Options::with_query_comments`](crate::Options::with_query_comments) is set and there is a context to write.
    pub fn start_commented(
        self,
        current: &Context,
        query: &str,
        attributes: impl FnOnce(&mut OperationAttributes),
    ) -> (DatabaseOperation, Option<String>) {
        let client = &self.statement.client;
        let options = &client.options;
        if !options.query_comments {
            return (self.start(current, attributes), None);
        }
        let mut comment = QueryComment::default();
        // A propagator that panics costs the context alone.
        let operation = if !self.statement.recorded || client.records_nothing() {
            let _ = catch_panic(|| options.propagation.inject(current, &mut comment));
            DatabaseOperation::not_recorded()
        } else {
            self.start_recorded(current, attributes, |span, propagation| {
                let _ = catch_panic(|| span.inject(propagation, &mut comment));
            })
        };
        (operation, comment.append_to(query))
    }

    #[inline]
    fn start_recorded(
        self,
        current: &Context,
        attributes: impl FnOnce(&mut OperationAttributes),
        inject: impl FnOnce(&OutboundSpan<'_>, &PropagatorHandle),
    ) -> DatabaseOperation {
        let statement = self.statement;
        let client = &statement.client;
        let options = &client.options;
        let started = self.started.unwrap_or_else(StartTime::now);
        let start = || {
            SpanStart::new(statement.name.clone(), SpanKind::Client, started.time)
                .with_sampler_attributes(options.sampler_attributes)
        };
        let batch_size = self.batch_size;
        let build = || {
            let prepared: &[KeyValue] = &statement.attributes;
            let mut list = Vec::with_capacity(prepared.len() + ROOM);
            list.extend_from_slice(prepared);
            list.extend(batch_size.map(|size| number(OPERATION_BATCH_SIZE, size as u64)));
            let mut list = OperationAttributes { list };
            attributes(&mut list);
            list.list
        };
        let span = Operation::<OperationState>::start_outbound(&client.tracer, start, current, build);
        inject(&span, &options.propagation);
        let state = OperationState::new(Arc::clone(statement));
        DatabaseOperation::recorded(Operation::from_outbound(span, started, state))
    }
}
