//! What a step is told beside its input: shared state, keys, the attempt, the trace, cancellation.
//!
//! Follows `docs/sagas.md`, "Idempotency keys": they are the same over all retries and restarts.

use std::fmt;
use std::sync::Arc;

use opentelemetry::Context;
use tokio::sync::watch;

use crate::flow::Phase;

/// The context of one attempt. Cloning is cheap.
pub struct StepContext<S> {
    state: Arc<S>,
    call: Arc<CallContext>,
}

/// What does not depend on the type of the shared state.
#[derive(Debug)]
pub(crate) struct CallContext {
    pub(crate) id: Arc<str>,
    pub(crate) step: Arc<str>,
    pub(crate) phase: Phase,
    pub(crate) attempt: u32,
    pub(crate) cancelled: watch::Receiver<bool>,
    pub(crate) context: Context,
}

impl<S> StepContext<S> {
    pub(crate) fn new(state: Arc<S>, call: CallContext) -> Self {
        Self { state, call: Arc::new(call) }
    }

    /// What the runtime was given to share with all steps: clients, pools, settings.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The instance: the saga's name, a slash, and the key that it was started with.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.call.id
    }

    /// The step's name.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.call.step
    }

    /// Whether the step is being done or undone.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.call.phase
    }

    /// The attempt's number, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.call.attempt
    }

    /// The key under which the participant does this once, however often it is asked: the same over all attempts,
    /// restarts and workers. Doing and undoing have different ones.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        match self.call.phase {
            Phase::Action => self.action_key(),
            Phase::Compensation => format!("{}:undo", self.action_key()),
        }
    }

    /// The key of the step's action, also while it is being undone. A participant that is asked to undo what it has not
    /// seen remembers this key, and refuses the action if it comes late.
    #[must_use]
    pub fn action_key(&self) -> String {
        format!("{}/{}", self.call.id, self.call.step)
    }

    /// The OpenTelemetry context of the attempt. It is the current one while the step's future is polled; a task that
    /// the step spawns has to be given it.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.call.context
    }

    /// Whether the answer is not needed any more: the attempt is out of time, or the saga is being undone.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.call.cancelled.borrow()
    }

    /// Resolves when the answer is not needed any more. A step may stop then, and need not.
    pub async fn cancelled(&self) {
        let mut cancelled = self.call.cancelled.clone();
        // The sender is gone when the attempt is over, which is a cancellation too.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    }
}

impl<S> Clone for StepContext<S> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), call: Arc::clone(&self.call) }
    }
}

impl<S> fmt::Debug for StepContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepContext").field(&self.call).finish()
    }
}
