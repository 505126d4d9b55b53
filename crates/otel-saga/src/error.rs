//! The errors of steps, and those of the operations of this crate.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use otel_operation::Outcome;

use crate::flow::FoldError;
use crate::journal::JournalError;

/// Any boxed error.
pub type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The participant refused.
    Refused,
    Uncertain,
    /// No further attempt is to be made.
    GaveUp,
    /// The journal's data does not match the types of the definition.
    Data,
}

/// The error of one attempt of a step.
///
/// The operator `?` converts any [`Error`]: the outcome of the attempt is then unknown, the attempt is repeated, and
/// a step that is given up is undone. Only [`refused`](Self::refused) states that nothing has happened.
pub struct StepError {
    kind: Kind,
    error_type: &'static str,
    wait: Option<Duration>,
    source: BoxError,
}

impl StepError {
    /// The participant refused: under this idempotency key nothing has happened, and nothing will. No further attempt
    /// is made. A refused compensation is retried nevertheless.
    #[must_use]
    pub fn refused(error: impl Into<BoxError>) -> Self {
        Self::new(Kind::Refused, "refused", error)
    }

    /// The outcome is unknown, or does not exist yet: the attempt is repeated.
    #[must_use]
    pub fn uncertain(error: impl Into<BoxError>) -> Self {
        Self::new(Kind::Uncertain, "failed", error)
    }

    /// The outcome is unknown, and no further attempt is made: the step is undone. A step that cannot be undone parks
    /// the saga, and so does a compensation.
    #[must_use]
    pub fn give_up(error: impl Into<BoxError>) -> Self {
        Self::new(Kind::GaveUp, "gave_up", error)
    }

    fn new(kind: Kind, error_type: &'static str, error: impl Into<BoxError>) -> Self {
        Self { kind, error_type, wait: None, source: error.into() }
    }

    pub(crate) fn data(error: impl Into<BoxError>) -> Self {
        Self::new(Kind::Data, "data", error)
    }

    /// Sets the class of the failure, the `error.type` of spans and metrics. Use a small set of values.
    #[must_use]
    pub fn with_type(mut self, error_type: &'static str) -> Self {
        self.error_type = error_type;
        self
    }

    /// Sets the wait before the next attempt, in place of that of the retry policy: the participant asked for it, for
    /// example in `Retry-After`. It may be longer than the policy's longest wait. It has no effect on a refusal.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::error(self.error_type).with_description(self.text())
    }

    /// The text for the journal.
    pub(crate) fn text(&self) -> String {
        with_causes(&*self.source)
    }
}

/// A text as an error, for an alert that no error caused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Text<'t>(pub(crate) &'t str);

/// Formats an error and its causes in one line of at most 1024 bytes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    const LONGEST: usize = 1024;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause
        && text.len() < LONGEST
    {
        let more = error.to_string();
        // Some errors include their cause in their own text.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.truncate(boundary(&text, LONGEST));
    text
}

/// The largest character boundary that is at most `longest`. `str::floor_char_boundary` needs Rust 1.91, more than
/// this crate's `rust-version`.
fn boundary(text: &str, longest: usize) -> usize {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

impl<E: Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::uncertain(error)
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepError")
            .field("kind", &self.kind)
            .field("error_type", &self.error_type)
            .field("source", &self.source)
            .finish()
    }
}

/// The reason for which an input or an output is not journaled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The value cannot be written as JSON.
    #[error("the value cannot be written as JSON")]
    Write(#[source] serde_json::Error),
    /// The value, written as JSON, cannot be read back as its type: a float that is not a number, for example.
    #[error("the value cannot be read back from its JSON")]
    Read(#[source] serde_json::Error),
    /// The value is nested too deeply.
    #[error("the value has more than 100 levels of arrays and objects as JSON")]
    Deep,
    /// The value is too long.
    #[error("the value has more than 16 MiB as JSON")]
    Long,
}

/// The reason for which a saga was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This definition is not registered with the runtime.
    #[error("the saga `{saga}`, version {version}, is not one of this runtime's")]
    NotRegistered {
        /// The definition's name.
        saga: String,
        /// The definition's version.
        version: u32,
    },
    /// The key is empty, longer than 200 bytes, or contains a control character.
    #[error("a saga's key has 1 to 200 bytes, all of them printable")]
    Key,
    /// An instance with this key exists, and was started with another input.
    #[error("`{id}` was started with another input")]
    OtherInput {
        /// Id of the instance.
        id: String,
    },
    /// The input cannot be journaled.
    #[error("the input cannot be journaled")]
    Input(#[source] ValueError),
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The journal request failed, or its outcome is unknown: start the saga again with the same key.
    #[error("the journal did not answer")]
    Journal(#[source] JournalError),
}

/// The reason for which an instance could not be read, or did not accept a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// The journal has no such instance: it never existed, or was deleted after its retention.
    #[error("there is no instance `{id}`")]
    NotFound {
        /// Id of the instance.
        id: String,
    },
    /// The records are not those of a saga, or were written by a later version of this crate.
    #[error("the journal of `{id}` cannot be read")]
    Unreadable {
        /// Id of the instance.
        id: String,
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// The instance is a transaction of a coordinator, and only the coordinator writes to it.
    #[error(
        "`{id}` is a two-phase commit and no saga: only its coordinator changes anything in this journal"
    )]
    Transaction {
        /// Id of the transaction.
        id: String,
    },
    /// The instance has ended and accepts no requests.
    #[error("`{id}` has ended")]
    Ended {
        /// Id of the instance.
        id: String,
    },
    /// The instance is parked; unpark it instead.
    #[error("`{id}` is parked: unpark it")]
    Parked {
        /// Id of the instance.
        id: String,
    },
    /// The cancellation is too late: the pivot has been done, or may have been.
    #[error("the pivot of `{id}` is done, or may be: there is only forward")]
    TooLate {
        /// Id of the instance.
        id: String,
    },
    /// The instance is not parked; park it first, so that no attempt of the step is running.
    #[error("`{id}` is not parked: park it first")]
    NotParked {
        /// Id of the instance.
        id: String,
    },
    /// The saga has no step of this name.
    #[error("`{id}` has no step `{step}`")]
    NoSuchStep {
        /// Id of the instance.
        id: String,
        /// Name of the step.
        step: String,
    },
    /// The step cannot have this outcome.
    #[error("step `{step}` of `{id}` cannot be resolved like this")]
    Unresolvable {
        /// Id of the instance.
        id: String,
        /// Name of the step.
        step: String,
        /// The cause.
        #[source]
        source: FoldError,
    },
    /// The output cannot be journaled.
    #[error("the output cannot be journaled")]
    Output(#[source] ValueError),
    /// Other writers changed the instance during each of several tries.
    #[error("`{id}` kept changing")]
    Busy {
        /// Id of the instance.
        id: String,
    },
    /// The journal request failed, or its outcome is unknown.
    #[error("the journal did not answer")]
    Journal(#[from] JournalError),
}
