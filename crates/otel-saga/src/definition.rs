//! The definition of a saga: a builder over plain async functions, and the checks on it.
//!
//! Follows `docs/sagas.md`, "Definitions": a definition whose instances would get stuck is refused before anything
//! runs, by an error that names the step.

mod check;
mod inputs;
mod step;
mod value;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::check::DefinitionError;
pub use self::inputs::{StepHandle, StepInputs};
use self::step::Draft;
pub(crate) use self::step::Step;
pub use self::step::{ParallelGroup, StepBuilder};
pub(crate) use self::value::checked;
use crate::context::StepContext;
use crate::error::StepError;
use crate::flow::{NoSuchStep, StepSpec};

/// The definition of a saga: its name, its version, and its steps over the shared state `S`, from an input `I`.
/// Cloning is cheap.
pub struct Saga<S, I> {
    pub(crate) definition: Arc<Definition<S>>,
    input: PhantomData<fn(I)>,
}

/// The definition without the type of the input.
pub(crate) struct Definition<S> {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) specs: Vec<StepSpec>,
    pub(crate) steps: Vec<Step<S>>,
    /// Maximum number of attempts at once on each worker; `None` for the runtime's default.
    pub(crate) concurrency: Option<usize>,
}

impl<S, I> Saga<S, I>
where
    S: Send + Sync + 'static,
    I: Serialize + DeserializeOwned + Send + 'static,
{
    /// Starts a definition. An instance keeps the version that it was started with: give a changed definition a new
    /// version, and register both with the runtime until the instances of the old one have ended.
    #[must_use]
    pub fn builder(name: impl Into<String>, version: u32) -> SagaBuilder<S, I> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        SagaBuilder {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            version,
            stages: 0,
            drafts: Vec::new(),
            empty_group: false,
            concurrency: None,
            input: PhantomData,
        }
    }
}

impl<S> Definition<S> {
    /// Returns the executable part of a step.
    pub(crate) fn step(&self, step: u16) -> Result<&Step<S>, NoSuchStep> {
        self.steps.get(usize::from(step)).ok_or(NoSuchStep::new(step))
    }
}

impl<S, I> Saga<S, I> {
    /// The definition's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// The definition's version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.definition.version
    }
}

impl<S, I> Clone for Saga<S, I> {
    fn clone(&self) -> Self {
        Self { definition: Arc::clone(&self.definition), input: PhantomData }
    }
}

impl<S, I> fmt::Debug for Saga<S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Saga").field(&self.definition).finish()
    }
}

impl<S> fmt::Debug for Definition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("steps", &self.specs)
            .finish_non_exhaustive()
    }
}

/// A definition under construction.
pub struct SagaBuilder<S, I> {
    id: u64,
    name: String,
    version: u32,
    stages: u16,
    drafts: Vec<Draft<S>>,
    empty_group: bool,
    concurrency: Option<usize>,
    input: PhantomData<fn(I)>,
}

impl<S, I> SagaBuilder<S, I>
where
    S: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
{
    /// Adds a step. `inputs` selects the outputs of earlier steps that it needs: `()`, a handle, or a tuple of these.
    /// Finish the returned builder with [`undo`](StepBuilder::undo), [`pivot`](StepBuilder::pivot) or
    /// [`forward`](StepBuilder::forward).
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
        self.stages = self.stages.saturating_add(1);
        self.draft(name.into(), inputs, action, false)
    }

    /// Adds steps that run at the same time. A step of the group cannot use the output of another one, and cannot be
    /// the pivot.
    pub fn parallel<T>(&mut self, steps: impl FnOnce(&mut ParallelGroup<'_, S, I>) -> T) -> T {
        self.stages = self.stages.saturating_add(1);
        let before = self.drafts.len();
        let handles = steps(&mut ParallelGroup(self));
        self.empty_group |= self.drafts.len() == before;
        handles
    }

    /// Sets the maximum number of attempts at once on each worker, of all steps of this definition together (default:
    /// [`RuntimeBuilder::with_concurrency`](crate::RuntimeBuilder::with_concurrency); at least 1). Attempts of other
    /// definitions do not count.
    pub fn concurrency(&mut self, attempts: usize) -> &mut Self {
        self.concurrency = Some(attempts);
        self
    }

    fn draft<A, O, F, R>(
        &mut self,
        name: String,
        inputs: A,
        action: F,
        parallel: bool,
    ) -> StepBuilder<'_, S, I, A, O>
    where
        A: StepInputs,
        O: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(StepContext<S>, I, A::Values) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, StepError>> + Send + 'static,
    {
        self.drafts.push(Draft::new(name, self.stages, parallel, inputs, action));
        StepBuilder::new(self, inputs)
    }

    /// Checks and finishes the definition.
    ///
    /// # Errors
    ///
    /// Returns a [`DefinitionError`] if an instance could get stuck, or if names are ambiguous.
    pub fn build(self) -> Result<Saga<S, I>, DefinitionError> {
        check::check(&self)?;
        let (specs, steps) = self.drafts.into_iter().filter_map(Draft::finish).unzip();
        let (name, version, concurrency) = (self.name, self.version, self.concurrency);
        let definition = Definition { name, version, specs, steps, concurrency };
        Ok(Saga { definition: Arc::new(definition), input: PhantomData })
    }
}

impl<S, I> fmt::Debug for SagaBuilder<S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&str> = self.drafts.iter().map(|draft| &*draft.name).collect();
        f.debug_struct("SagaBuilder").field("name", &self.name).field("steps", &steps).finish_non_exhaustive()
    }
}
