//! The context that a step's function receives beside its input: shared state, keys, attempt, trace, cancellation.
//!
//! Follows `docs/sagas.md`, "Idempotency keys": they are the same over all retries and restarts.

use std::fmt;
use std::sync::Arc;

use opentelemetry::Context;
use tokio::sync::watch;

use crate::flow::Phase;

/// The context of one attempt of a step. Cloning is cheap.
pub struct StepContext<S> {
    state: Arc<S>,
    call: Arc<CallContext>,
}

/// The part of the context that does not depend on the type of the shared state.
#[derive(Debug)]
pub(crate) struct CallContext {
    pub(crate) id: Arc<str>,
    pub(crate) step: Arc<str>,
    /// Number of the step, from 0.
    pub(crate) number: u16,
    /// The nonce of the instance.
    pub(crate) nonce: Option<String>,
    pub(crate) phase: Phase,
    pub(crate) attempt: u32,
    pub(crate) cancelled: watch::Receiver<bool>,
    pub(crate) context: Context,
}

impl<S> StepContext<S> {
    pub(crate) fn new(state: Arc<S>, call: CallContext) -> Self {
        Self { state, call: Arc::new(call) }
    }

    /// The state that the runtime shares with all steps: clients, pools, settings.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The id of the instance: the saga's name, a slash, and the key that it was started with.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.call.id
    }

    /// Returns the name of the step.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.call.step
    }

    /// The phase: whether the step is being done or undone.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.call.phase
    }

    /// The number of the attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.call.attempt
    }

    /// The key that makes the call idempotent at the participant: the same for all attempts, restarts and workers.
    /// The action and the compensation of a step have different keys.
    ///
    /// The key has 38 ASCII characters: digits, lower-case letters and hyphens. It contains a random text of the
    /// instance, so that a saga that is started again after its instance was deleted has other keys.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.key(self.call.phase)
    }

    /// The idempotency key of the step's action, in both phases. A participant that is asked to undo an action that
    /// it has not seen remembers this key, and refuses the action if it arrives late.
    #[must_use]
    pub fn action_key(&self) -> String {
        self.key(Phase::Action)
    }

    fn key(&self, phase: Phase) -> String {
        let CallContext { id, step, number, nonce, .. } = &*self.call;
        match (nonce, phase) {
            // A definition has at most 1000 steps.
            (Some(nonce), Phase::Action) => format!("{nonce}-{number:03x}-a"),
            (Some(nonce), Phase::Compensation) => format!("{nonce}-{number:03x}-c"),
            // Instances without a nonce keep the keys that their participants have seen.
            (None, Phase::Action) => format!("{id}/{step}"),
            (None, Phase::Compensation) => format!("{id}/{step}:undo"),
        }
    }

    /// The OpenTelemetry context of the attempt. It is current while the step's future is polled; pass it to tasks
    /// that the step spawns.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.call.context
    }

    /// Returns true if the result is no longer needed: the attempt has ended or timed out, or the saga is being undone.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // The sender is dropped when the attempt is over.
        *self.call.cancelled.borrow() || self.call.cancelled.has_changed().is_err()
    }

    /// Resolves when the result is no longer needed. A step may stop then, but does not have to.
    pub async fn cancelled(&self) {
        let mut cancelled = self.call.cancelled.clone();
        // A dropped sender is a cancellation too: the attempt is over.
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
