//! What registration refuses: definitions whose instances would get stuck, or be taken for one another.
//!
//! Follows `docs/sagas.md`, "Definitions", which gives the reason of each refusal.

use std::collections::HashSet;

use super::SagaBuilder;
use super::step::Draft;
use crate::flow::StepKind;

/// Why a definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field of each is the name of the saga or of the step")]
pub enum DefinitionError {
    /// Names are parts of idempotency keys: they must not run into each other.
    #[error("`{name}` is no name: 1 to 64 bytes, printable, without `/` and `:`")]
    Name { name: String },
    /// A saga without steps.
    #[error("the saga `{saga}` has no steps")]
    NoSteps { saga: String },
    /// More steps than a journal can number.
    #[error("the saga `{saga}` has more than 1000 steps")]
    TooManySteps { saga: String },
    /// A group without steps.
    #[error("the saga `{saga}` has a parallel group without steps")]
    EmptyGroup { saga: String },
    /// Two steps of one name have one idempotency key.
    #[error("there are two steps `{step}`")]
    DuplicateName { step: String },
    /// Nobody said what becomes of the step when the saga cannot go on.
    #[error("the step `{step}` was given no end: `undo`, `pivot` or `forward`")]
    NoEnd { step: String },
    /// While it is uncertain, its neighbours could neither be undone nor left.
    #[error("the step `{step}` is a pivot in a parallel group")]
    PivotInGroup { step: String },
    /// After the first pivot there is only forward, and a pivot can be refused.
    #[error("the step `{step}` is a second pivot")]
    SecondPivot { step: String },
    /// After the pivot there is only forward.
    #[error("the step `{step}` can be undone, but comes after the pivot")]
    CompensatableAfterPivot { step: String },
    /// Before the pivot, what was done must be undone when a later step is refused.
    #[error("the step `{step}` is a forward step, but no pivot comes before it")]
    ForwardBeforePivot { step: String },
    /// A handle that another definition has given out.
    #[error("the step `{step}` uses the output of another saga's step")]
    ForeignHandle { step: String },
    /// Steps of one group run at the same time.
    #[error("the step `{step}` uses the output of a step that runs at the same time")]
    SiblingOutput { step: String },
}

const MOST_STEPS: usize = 1000;

pub(super) fn check<S, I>(saga: &SagaBuilder<S, I>) -> Result<(), DefinitionError> {
    name(&saga.name)?;
    if saga.drafts.is_empty() {
        return Err(DefinitionError::NoSteps { saga: saga.name.clone() });
    }
    if saga.drafts.len() > MOST_STEPS {
        return Err(DefinitionError::TooManySteps { saga: saga.name.clone() });
    }
    if saga.empty_group {
        return Err(DefinitionError::EmptyGroup { saga: saga.name.clone() });
    }
    let mut names = HashSet::new();
    let mut decided = false;
    for draft in &saga.drafts {
        name(&draft.name)?;
        let step = draft.name.clone();
        if !names.insert(&*draft.name) {
            return Err(DefinitionError::DuplicateName { step });
        }
        match draft.kind {
            None => return Err(DefinitionError::NoEnd { step }),
            Some(StepKind::Pivot) if draft.parallel => return Err(DefinitionError::PivotInGroup { step }),
            Some(StepKind::Pivot) if decided => return Err(DefinitionError::SecondPivot { step }),
            Some(StepKind::Pivot) => decided = true,
            Some(StepKind::Compensatable) if decided => {
                return Err(DefinitionError::CompensatableAfterPivot { step });
            }
            Some(StepKind::Forward) if !decided => return Err(DefinitionError::ForwardBeforePivot { step }),
            Some(StepKind::Compensatable | StepKind::Forward) => {}
        }
        sources(saga, draft)?;
    }
    Ok(())
}

fn sources<S, I>(saga: &SagaBuilder<S, I>, draft: &Draft<S>) -> Result<(), DefinitionError> {
    for source in &draft.sources {
        if source.saga != saga.id {
            return Err(DefinitionError::ForeignHandle { step: draft.name.clone() });
        }
        if saga.drafts.get(source.step).is_none_or(|used| used.stage >= draft.stage) {
            return Err(DefinitionError::SiblingOutput { step: draft.name.clone() });
        }
    }
    Ok(())
}

fn name(name: &str) -> Result<(), DefinitionError> {
    let fits = (1..=64).contains(&name.len());
    if fits && !name.contains(['/', ':']) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(DefinitionError::Name { name: name.to_owned() })
}
