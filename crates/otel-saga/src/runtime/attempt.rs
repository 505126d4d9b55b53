//! One attempt: the step's function, run in its context and under its time limit.
//!
//! Follows `ARCHITECTURE.md`, "What must stay true", 3: the context is current wherever the step's code runs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use otel_operation::OperationFuture;
use serde_json::Value;
use tokio::sync::watch;

use super::slots::{HeldSlot, Slot};
use crate::context::{CallContext, StepContext};
use crate::definition::Definition;
use crate::error::StepError;
use crate::flow::{Phase, State};
use crate::telemetry::AttemptOperation;

/// A step and a phase; at most one attempt of each runs at a time.
pub(super) type AttemptKey = (u16, Phase);

/// An attempt whose intent is in the journal.
pub(super) struct AttemptTask<S> {
    pub(super) definition: Arc<Definition<S>>,
    pub(super) shared: Arc<S>,
    pub(super) state: Arc<State>,
    pub(super) id: Arc<str>,
    pub(super) key: AttemptKey,
    pub(super) attempt: u32,
    pub(super) cancelled: watch::Receiver<bool>,
    pub(super) operation: AttemptOperation,
    pub(super) slot: Slot,
}

/// The result of an attempt.
pub(super) struct EndedAttempt {
    pub(super) key: AttemptKey,
    pub(super) result: Result<Value, StepError>,
    /// The slot, for the next attempt of the instance.
    pub(super) slot: Option<Slot>,
}

impl<S: Send + Sync + 'static> AttemptTask<S> {
    /// Runs the attempt. A panic and a time-out are errors with an unknown outcome.
    pub(super) async fn run(self) -> EndedAttempt {
        let Self { definition, shared, state, id, key, attempt, cancelled, operation, slot } = self;
        let (number, phase) = key;
        let context = operation.context().clone();
        let inside = async move {
            let step = definition.step(number).map_err(StepError::data)?;
            let call = match phase {
                Phase::Action => &step.action,
                Phase::Compensation => {
                    step.undo.as_ref().ok_or_else(|| StepError::data("the step has no compensation"))?
                }
            };
            let call_context = CallContext {
                id,
                step: Arc::clone(&step.name),
                number,
                nonce: state.started.nonce.clone(),
                phase,
                attempt,
                cancelled,
                context,
            };
            let running = call(StepContext::new(shared, call_context), &state)?;
            // Released before the wait, so that the instance can change its state without copying it.
            drop(state);
            match tokio::time::timeout(step.policy.timeout, running).await {
                Ok(result) => result,
                Err(late) => Err(StepError::uncertain(late).with_type("timeout")),
            }
        };
        let running = AssertUnwindSafe(OperationFuture::new(inside, Some(operation)));
        let (result, slot) = HeldSlot::run(slot, running.catch_unwind()).await;
        let panicked = || StepError::uncertain("the step panicked").with_type("panic");
        EndedAttempt { key, result: result.unwrap_or_else(|_| Err(panicked())), slot }
    }
}
