//! The checks of a definition: it is refused if instances could get stuck, or if names are ambiguous.
//!
//! Follows `docs/sagas.md`, "Definitions", which gives the reason of each refusal.

use std::collections::HashSet;

use super::SagaBuilder;
use super::step::Draft;
use crate::flow::StepKind;

/// The reason for which a definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field of each is the name of the saga or of the step")]
pub enum DefinitionError {
    /// The name is invalid. Names are parts of idempotency keys, in which `/` and `:` are separators.
    #[error("`{name}` is no name: 1 to 64 bytes, printable, without `/` and `:`")]
    Name { name: String },
    /// The saga has no steps.
    #[error("the saga `{saga}` has no steps")]
    NoSteps { saga: String },
    /// The saga has more steps than the limit of 1000.
    #[error("the saga `{saga}` has more than 1000 steps")]
    TooManySteps { saga: String },
    /// A parallel group has no steps.
    #[error("the saga `{saga}` has a parallel group without steps")]
    EmptyGroup { saga: String },
    /// Two steps have the same name, and so the same idempotency key.
    #[error("there are two steps `{step}`")]
    DuplicateName { step: String },
    /// The step has no end: it is neither compensatable nor the pivot nor a forward step.
    #[error("the step `{step}` was given no end: `undo`, `pivot` or `forward`")]
    NoEnd { step: String },
    /// The pivot is in a parallel group. While it is uncertain, its neighbours could neither be undone nor left.
    #[error("the step `{step}` is a pivot in a parallel group")]
    PivotInGroup { step: String },
    /// The saga has a second pivot. It could be refused, and the first pivot cannot be undone.
    #[error("the step `{step}` is a second pivot")]
    SecondPivot { step: String },
    /// A compensatable step comes after the pivot, where nothing is undone.
    #[error("the step `{step}` can be undone, but comes after the pivot")]
    CompensatableAfterPivot { step: String },
    /// A forward step comes before the pivot. It could not be undone when a later step is refused.
    #[error("the step `{step}` is a forward step, but no pivot comes before it")]
    ForwardBeforePivot { step: String },
    /// The handle comes from another definition.
    #[error("the step `{step}` uses the output of another saga's step")]
    ForeignHandle { step: String },
    /// The step uses the output of a step of its own group, which runs at the same time.
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
