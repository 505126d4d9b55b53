//! Typed handles: the output of a step as a value that later steps take as an argument.
//!
//! Outputs are JSON values in the journal; their types are known only to the definition.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _};

use crate::flow::State;

/// The output of a step, as a typed argument of later steps.
pub struct StepHandle<T> {
    pub(super) saga: u64,
    pub(super) step: usize,
    pub(super) output: PhantomData<fn() -> T>,
}

impl<T> Clone for StepHandle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StepHandle<T> {}

impl<T> fmt::Debug for StepHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepHandle").field(&self.step).finish()
    }
}

/// The step and the definition that a handle refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub(super) saga: u64,
    pub(super) step: usize,
}

mod sealed {
    pub trait Sealed {}
}

/// The outputs that a step takes: `()`, a [`StepHandle`], or a tuple of up to four of these.
pub trait StepInputs: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The values that the step's function receives.
    type Values: Send + 'static;

    #[doc(hidden)]
    fn sources(&self, sources: &mut Vec<Source>);

    #[doc(hidden)]
    fn read(&self, state: &State) -> Result<Self::Values, serde_json::Error>;
}

impl sealed::Sealed for () {}

impl StepInputs for () {
    type Values = ();

    fn sources(&self, _: &mut Vec<Source>) {}

    fn read(&self, _: &State) -> Result<(), serde_json::Error> {
        Ok(())
    }
}

impl<T> sealed::Sealed for StepHandle<T> {}

impl<T: DeserializeOwned + Send + 'static> StepInputs for StepHandle<T> {
    type Values = T;

    fn sources(&self, sources: &mut Vec<Source>) {
        sources.push(Source { saga: self.saga, step: self.step });
    }

    fn read(&self, state: &State) -> Result<T, serde_json::Error> {
        // The definition check guarantees that the step is earlier, so that it was done.
        let output = state.steps.get(self.step).and_then(|step| step.action.output());
        T::deserialize(output.ok_or_else(|| serde_json::Error::custom("an earlier step has no output"))?)
    }
}

macro_rules! tuple {
    ($($name:ident $place:tt),+) => {
        impl<$($name: StepInputs),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: StepInputs),+> StepInputs for ($($name,)+) {
            type Values = ($($name::Values,)+);

            fn sources(&self, sources: &mut Vec<Source>) {
                $(self.$place.sources(sources);)+
            }

            fn read(&self, state: &State) -> Result<Self::Values, serde_json::Error> {
                Ok(($(self.$place.read(state)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
