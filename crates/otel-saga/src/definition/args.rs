//! Typed handles: a step's output as a value that later steps are given.
//!
//! Outputs are serde values in the journal; the type is known where the saga is defined.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::flow::State;

/// Stands for the output of a step.
pub struct Handle<T> {
    pub(super) saga: u64,
    pub(super) step: usize,
    pub(super) output: PhantomData<fn() -> T>,
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.step).finish()
    }
}

/// Which step of which definition a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub(super) saga: u64,
    pub(super) step: usize,
}

mod sealed {
    pub trait Sealed {}
}

/// Whose outputs a step is given: `()`, a [`Handle`], or a tuple of up to four of these.
pub trait Args: sealed::Sealed + Send + Sync + 'static {
    /// What the step's function gets.
    type Values: Send + 'static;

    #[doc(hidden)]
    fn sources(&self, sources: &mut Vec<Source>);

    #[doc(hidden)]
    fn read(&self, state: &State) -> Result<Self::Values, serde_json::Error>;
}

impl sealed::Sealed for () {}

impl Args for () {
    type Values = ();

    fn sources(&self, _: &mut Vec<Source>) {}

    fn read(&self, _: &State) -> Result<(), serde_json::Error> {
        Ok(())
    }
}

impl<T> sealed::Sealed for Handle<T> {}

impl<T: DeserializeOwned + Send + 'static> Args for Handle<T> {
    type Values = T;

    fn sources(&self, sources: &mut Vec<Source>) {
        sources.push(Source { saga: self.saga, step: self.step });
    }

    fn read(&self, state: &State) -> Result<T, serde_json::Error> {
        // Registration has made sure that the step comes earlier; an output that is missing is one of another type.
        let output = state.steps.get(self.step).and_then(|step| step.action.output());
        T::deserialize(output.unwrap_or(&Value::Null))
    }
}

macro_rules! tuple {
    ($($name:ident $place:tt),+) => {
        impl<$($name: Args),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: Args),+> Args for ($($name,)+) {
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
