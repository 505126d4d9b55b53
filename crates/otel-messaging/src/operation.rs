//! A messaging operation, recorded or inert: the state that it keeps until its end, its context, and the injection of
//! the context into a message.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Context propagation".

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::trace::SpanRef;
use opentelemetry::{Context, ContextGuard};
use otel_operation::{Operation, OperationObserver, Outcome, catch_panic};
use otel_propagation::HeaderWriter;

use crate::operation_type::{OperationName, OperationType};
use crate::policy;
use crate::prepared::PreparedDestination;

/// A running operation on messages.
///
/// It ends exactly once: with the outcome given to [`finish`](Self::finish), when it is dropped, as `cancelled` or as
/// [`OperationBuilder::with_error_if_dropped`](crate::OperationBuilder::with_error_if_dropped) says, or as `panic` when
/// a panic unwinds out of [`inside`](Self::inside) or [`run`](Self::run).
///
/// The operation of a destination that the client's filter excludes is inert: it records nothing, but it carries the
/// context on. So is each operation while no provider is installed. Where no propagator is installed either, there is no
/// context to carry on, and the current one stays as it is.
#[must_use = "an operation that is dropped ends as cancelled"]
pub struct MessagingOperation(State);

enum State {
    /// Nothing of OpenTelemetry is installed.
    Idle,
    Recorded(Operation<OperationState>),
    Inert {
        context: Context,
        destination: Arc<PreparedDestination>,
        injects: bool,
        /// True if a valid context replaces one of an earlier hop.
        replaces: bool,
        context_dropped: bool,
    },
}

impl MessagingOperation {
    pub(crate) fn recorded(operation: Operation<OperationState>) -> Self {
        Self(State::Recorded(operation))
    }

    pub(crate) fn idle() -> Self {
        Self(State::Idle)
    }

    /// Creates the operation of a destination that the filter excludes, or of a client without an SDK.
    pub(crate) fn inert(context: Context, destination: &Arc<PreparedDestination>, injects: bool) -> Self {
        let (destination, replaces) = (Arc::clone(destination), !destination.recorded);
        Self(State::Inert { context, destination, injects, replaces, context_dropped: false })
    }

    /// Returns the context in which the operation's code runs: that of its span or, without one, the context that its
    /// span would have had for a parent.
    #[must_use]
    pub fn context(&self) -> &Context {
        static EMPTY: LazyLock<Context> = LazyLock::new(Context::new);
        match &self.0 {
            State::Idle => &EMPTY,
            State::Recorded(operation) => operation.context(),
            State::Inert { context, .. } => context,
        }
    }

    /// Makes the context current on this thread until the guard is dropped.
    pub fn attach(&self) -> ContextGuard {
        match &self.0 {
            State::Idle => Context::current().attach(),
            State::Recorded(_) | State::Inert { .. } => self.context().clone().attach(),
        }
    }

    /// Returns the span if it records, for attributes that are known late: an offset, a reply code.
    #[must_use]
    pub fn recording(&self) -> Option<SpanRef<'_>> {
        match &self.0 {
            State::Recorded(operation) => operation.recording(),
            State::Idle | State::Inert { .. } => None,
        }
    }

    /// Runs code with the context current. A panic in it ends the operation as `panic`.
    #[inline]
    pub fn inside<T>(&mut self, code: impl FnOnce() -> T) -> T {
        match &mut self.0 {
            State::Idle => code(),
            State::Recorded(operation) => operation.inside(|_| code()),
            State::Inert { context, .. } => {
                let _attached = context.clone().attach();
                code()
            }
        }
    }

    /// Runs code inside the operation and ends it with the outcome that `outcome` derives from the output.
    pub fn run_sync<T>(mut self, code: impl FnOnce() -> T, outcome: impl FnOnce(&T) -> Outcome) -> T {
        let output = self.inside(code);
        self.finish(&outcome(&output));
        output
    }

    /// Ends the operation with this outcome.
    pub fn finish(mut self, outcome: &Outcome) {
        self.end(outcome);
    }

    /// Drops the context of an operation whose span does not record, so that it is not kept until the end. The context is an empty
    /// one from then on. For a message that has its headers and waits for its confirmation.
    #[inline]
    pub fn release_context(&mut self) {
        match &mut self.0 {
            State::Idle => {}
            State::Recorded(operation) => operation.release_context(),
            State::Inert { context, .. } => *context = Context::new(),
        }
    }

    /// Ends the operation in place, for one that is part of another value; otherwise see [`finish`](Self::finish). Later ends
    /// have no effect.
    pub fn end(&mut self, outcome: &Outcome) {
        if let State::Recorded(operation) = &mut self.0 {
            operation.end(outcome);
        }
    }

    /// Returns true if the operation's context has to be written into the message: for `create`, `request` and `send`,
    /// unless the message keeps the context that it carries ([`ExistingContext::Preserve`](crate::ExistingContext)).
    #[must_use]
    pub fn injects(&self) -> bool {
        match &self.0 {
            State::Idle => false,
            State::Recorded(operation) => operation.observer().injects,
            State::Inert { injects, .. } => *injects,
        }
    }

    /// Writes the operation's context into the headers of its message. Does nothing if the message keeps its context
    /// ([`injects`](Self::injects)).
    ///
    /// A span of the operation's own replaces the context of an earlier hop; so does the current span, if the filter left
    /// the operation out. Otherwise headers that the message has stay, and the context is written only as far as the message
    /// holds nothing yet.
    #[inline]
    pub fn inject<C: HeaderWriter>(&self, headers: &mut C) {
        // A propagator that panics costs the context alone.
        let _ = catch_panic(|| match &self.0 {
            State::Recorded(operation) if operation.observer().injects => {
                operation.inject(&operation.observer().destination.client.options.propagation, headers);
            }
            State::Inert { context, destination, injects: true, replaces, .. } => {
                let propagation = &destination.client.options.propagation;
                if *replaces && policy::is_valid(context) {
                    propagation.inject(context, headers);
                } else {
                    propagation.inject_absent(context, headers);
                }
            }
            State::Idle | State::Recorded(_) | State::Inert { .. } => {}
        });
    }

    /// Returns true for an inert operation whose context has to be written into the message.
    pub(crate) fn injects_inert(&self) -> bool {
        matches!(&self.0, State::Inert { injects: true, .. })
    }

    /// Returns true if the message is sent without the context because the headers did not fit into their
    /// [`HeaderBudget`](crate::HeaderBudget).
    #[must_use]
    pub fn is_context_dropped(&self) -> bool {
        match &self.0 {
            State::Idle => false,
            State::Recorded(operation) => operation.observer().context_dropped,
            State::Inert { context_dropped, .. } => *context_dropped,
        }
    }

    pub(crate) fn drop_context(&mut self) {
        match &mut self.0 {
            State::Idle => {}
            State::Recorded(operation) => operation.observer_mut().context_dropped = true,
            State::Inert { context_dropped, .. } => *context_dropped = true,
        }
    }
}

impl fmt::Debug for MessagingOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Idle => f.write_str("Idle"),
            State::Recorded(operation) => f.debug_tuple("Recorded").field(operation).finish(),
            State::Inert { .. } => f.write_str("Inert"),
        }
    }
}

/// The state that a recorded operation keeps until its end.
#[derive(Debug)]
pub(crate) struct OperationState {
    pub(crate) destination: Arc<PreparedDestination>,
    pub(crate) operation: OperationName,
    pub(crate) operation_type: Option<OperationType>,
    pub(crate) messages: u32,
    pub(crate) injects: bool,
    pub(crate) context_dropped: bool,
    pub(crate) error_if_dropped: Option<&'static str>,
}

impl OperationObserver for OperationState {
    fn outcome_if_dropped(&mut self) -> Outcome {
        self.error_if_dropped.map_or_else(Outcome::cancelled, Outcome::error)
    }

    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.destination.measure(self.operation, self.operation_type, self.messages.into(), outcome, elapsed);
    }
}
