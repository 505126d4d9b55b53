//! One step: its type-erased functions, its policies, and the three ends that it can be given.
//!
//! Follows `docs/sagas.md`, "Order of steps and the pivot": a step is compensatable, the pivot, or forward.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::SagaBuilder;
use super::inputs::{Source, StepHandle, StepInputs};
use super::value::checked;
use crate::context::StepContext;
use crate::error::StepError;
use crate::flow::{State, StepKind, StepSpec};
use crate::retry::RetryPolicy;

/// A running attempt. It resolves to the action's output; a compensation resolves to null.
type Running = Pin<Box<dyn Future<Output = Result<Value, StepError>> + Send>>;

/// A step's function. It reads its arguments from the state of the instance.
pub(crate) type Call<S> = Box<dyn Fn(StepContext<S>, &State) -> Result<Running, StepError> + Send + Sync>;

/// The executable part of a step; its [`StepSpec`] is the journaled part.
pub(crate) struct Step<S> {
    /// The name in the step's spec, shared with each attempt.
    pub(crate) name: Arc<str>,
    pub(crate) action: Call<S>,
    pub(crate) undo: Option<Call<S>>,
    pub(crate) policy: Policy,
}

/// The limits of a step's attempts: number, back-off, duration, concurrency.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Option<Duration>,
    /// Maximum number of attempts at once on each worker.
    pub(crate) concurrency: Option<usize>,
}

/// A step under construction, possibly without an end.
pub(super) struct Draft<S> {
    pub(super) name: String,
    pub(super) stage: u16,
    pub(super) parallel: bool,
    pub(super) sources: Vec<Source>,
    pub(super) kind: Option<StepKind>,
    step: Step<S>,
}

impl<S: Send + Sync + 'static> Draft<S> {
    pub(super) fn new<I, A, O, F, R>(name: String, stage: u16, parallel: bool, inputs: A, action: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        A: StepInputs,
        O: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepContext<S>, I, A::Values) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, StepError>> + Send + 'static,
    {
        let mut sources = Vec::new();
        inputs.sources(&mut sources);
        let action: Call<S> = Box::new(move |cx, state| {
            let input = I::deserialize(&state.started.input).map_err(StepError::data)?;
            let values = inputs.read(state).map_err(StepError::data)?;
            let running = action(cx, input, values);
            Ok(Box::pin(
                async move { checked(running.await?).map(|(output, _)| output).map_err(StepError::data) },
            ))
        });
        let policy = Policy {
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(30),
            deadline: None,
            concurrency: None,
        };
        let step = Step { name: name.as_str().into(), action, undo: None, policy };
        Self { name, stage, parallel, sources, kind: None, step }
    }

    /// Returns `None` for a step without an end, which the definition check has already refused.
    pub(super) fn finish(self) -> Option<(StepSpec, Step<S>)> {
        Some((StepSpec::new(self.name, self.kind?, self.stage), self.step))
    }
}

/// A step that still needs an end.
#[must_use = "a step without an end (`undo`, `pivot`, `forward`) is refused"]
pub struct StepBuilder<'b, S, I, A, O> {
    saga: &'b mut SagaBuilder<S, I>,
    inputs: A,
    output: PhantomData<fn() -> O>,
}

impl<'b, S, I, A, O> StepBuilder<'b, S, I, A, O>
where
    S: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    A: StepInputs,
    O: DeserializeOwned + Send + 'static,
{
    /// Builds on the step that was added last.
    pub(super) fn new(saga: &'b mut SagaBuilder<S, I>, inputs: A) -> Self {
        Self { saga, inputs, output: PhantomData }
    }

    /// Sets the retry policy (default: [`RetryPolicy::default`]). It applies to the compensation as well, except that
    /// a compensation is never given up.
    pub fn retry(self, retry: RetryPolicy) -> Self {
        self.policy(|policy| policy.retry = retry)
    }

    /// Sets the time limit of one attempt (default: 30 s). The outcome of an attempt that reaches it is unknown.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.policy(|policy| policy.timeout = timeout)
    }

    /// Sets the time from the start of the first attempt until which another attempt may start. Afterwards a
    /// compensatable step is given up and undone; a pivot or a forward step raises an alert.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.policy(|policy| policy.deadline = Some(deadline))
    }

    /// Sets the maximum number of attempts of this step at once on each worker, compensations included (default: only
    /// the definition's limit, [`SagaBuilder::concurrency`]; at least 1).
    pub fn concurrency(self, attempts: usize) -> Self {
        self.policy(|policy| policy.concurrency = Some(attempts))
    }

    /// Makes the step compensatable: `undo` undoes it, and is retried until it succeeds. It receives the arguments of
    /// the action, and its output, or `None` if the outcome is unknown: the action may have been done, or may still
    /// arrive at the participant.
    pub fn undo<F, R>(self, undo: F) -> StepHandle<O>
    where
        F: Fn(StepContext<S>, I, A::Values, Option<O>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        let (place, inputs) = (self.saga.drafts.len().saturating_sub(1), self.inputs);
        let call: Call<S> = Box::new(move |cx, state| {
            let input = I::deserialize(&state.started.input).map_err(StepError::data)?;
            let values = inputs.read(state).map_err(StepError::data)?;
            let output = state.steps.get(place).and_then(|step| step.action.output());
            let output = output.map(O::deserialize).transpose().map_err(StepError::data)?;
            let running = undo(cx, input, values, output);
            Ok(Box::pin(async move { running.await.map(|()| Value::Null) }))
        });
        self.end(StepKind::Compensatable, Some(call))
    }

    /// Makes the step the pivot: once it has been done, or may have been, nothing is undone any more.
    pub fn pivot(self) -> StepHandle<O> {
        self.end(StepKind::Pivot, None)
    }

    /// Makes the step a forward step: it comes after the pivot and is retried until it succeeds. If it is refused,
    /// the saga is parked.
    pub fn forward(self) -> StepHandle<O> {
        self.end(StepKind::Forward, None)
    }

    fn policy(self, change: impl FnOnce(&mut Policy)) -> Self {
        if let Some(draft) = self.saga.drafts.last_mut() {
            change(&mut draft.step.policy);
        }
        self
    }

    fn end(self, kind: StepKind, undo: Option<Call<S>>) -> StepHandle<O> {
        if let Some(draft) = self.saga.drafts.last_mut() {
            draft.kind = Some(kind);
            draft.step.undo = undo;
        }
        let step = self.saga.drafts.len().saturating_sub(1);
        StepHandle { saga: self.saga.id, step, output: PhantomData }
    }
}

impl<S, I, A, O> fmt::Debug for StepBuilder<'_, S, I, A, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.saga.drafts.last().map(|draft| &draft.name);
        f.debug_tuple("StepBuilder").field(&name).finish()
    }
}

/// A group of steps that run at the same time.
pub struct ParallelGroup<'g, S, I>(pub(super) &'g mut SagaBuilder<S, I>);

impl<S, I> ParallelGroup<'_, S, I>
where
    S: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
{
    /// Adds a step to the group, as [`SagaBuilder::step`] does to the saga.
    pub fn step<A, O, F, R>(
        &mut self,
        name: impl Into<String>,
        inputs: A,
        action: F,
    ) -> StepBuilder<'_, S, I, A, O>
    where
        A: StepInputs,
        O: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepContext<S>, I, A::Values) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, StepError>> + Send + 'static,
    {
        self.0.draft(name.into(), inputs, action, true)
    }
}

impl<S, I> fmt::Debug for ParallelGroup<'_, S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParallelGroup").field(&self.0).finish()
    }
}
