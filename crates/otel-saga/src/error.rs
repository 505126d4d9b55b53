//! How a step fails, and how whole operations of this crate do.

use std::error::Error;
use std::fmt;

use otel_operation::Outcome;

use crate::journal::JournalError;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The participant said no.
    Refused,
    /// The outcome is unknown.
    Uncertain,
    /// The journal's data are not those that the definition's types expect.
    Data,
}

/// How an attempt of a step failed.
///
/// Whatever is an [`Error`] becomes one by `?`: the attempt's outcome is then unknown, it is made again, and if it is
/// given up the step is undone. Only [`refused`](Self::refused) says that nothing has happened.
pub struct StepError {
    kind: Kind,
    error_type: &'static str,
    source: BoxError,
}

impl StepError {
    /// The participant refused: under this idempotency key nothing has happened, nor ever will. There is no further
    /// attempt. A compensation that is refused is tried again all the same.
    #[must_use]
    pub fn refused(error: impl Into<BoxError>) -> Self {
        Self { kind: Kind::Refused, error_type: "refused", source: error.into() }
    }

    /// The outcome is unknown, or there was none yet: the attempt is to be made again.
    #[must_use]
    pub fn uncertain(error: impl Into<BoxError>) -> Self {
        Self { kind: Kind::Uncertain, error_type: "failed", source: error.into() }
    }

    pub(crate) fn data(error: impl Into<BoxError>) -> Self {
        Self { kind: Kind::Data, error_type: "data", source: error.into() }
    }

    /// Names the class of the failure: the `error.type` of spans and metrics, out of a small set.
    #[must_use]
    pub fn with_type(mut self, error_type: &'static str) -> Self {
        self.error_type = error_type;
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::error(self.error_type).with_description(self.text())
    }

    /// What goes into the journal.
    pub(crate) fn text(&self) -> String {
        with_causes(&*self.source)
    }
}

/// The error and its causes in one line, cut where it is very long.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    const LONGEST: usize = 1024;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause
        && text.len() < LONGEST
    {
        let more = error.to_string();
        // Some errors tell their cause themselves.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.truncate(boundary(&text, LONGEST));
    text
}

/// Where to cut so that no character is halved. `str::floor_char_boundary` is younger than the Rust that we ask for.
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

/// Why a saga was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This saga was not given to the runtime.
    #[error("the saga `{saga}`, version {version}, is not one of this runtime's")]
    NotRegistered {
        /// The definition's name.
        saga: String,
        /// The definition's version.
        version: u32,
    },
    /// The key is empty, longer than 200 bytes, or has a character that cannot be printed.
    #[error("a saga's key has 1 to 200 bytes, all of them printable")]
    Key,
    /// There is an instance of this key, and it was started with another input.
    #[error("`{id}` was started with another input")]
    OtherInput {
        /// The instance.
        id: String,
    },
    /// The input cannot be written as JSON.
    #[error("the input cannot be written as JSON")]
    Input(#[source] serde_json::Error),
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The journal did not take it. Whether it did may be unknown: start it again with the same key.
    #[error("the journal did not answer")]
    Journal(#[source] JournalError),
}

/// Why an instance could not be looked at, or told something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// The journal has no such instance: it never had, or its retention is over.
    #[error("there is no instance `{id}`")]
    NotFound {
        /// The instance.
        id: String,
    },
    /// Its records are not those of a saga, or of a later version of this crate.
    #[error("the journal of `{id}` cannot be read")]
    Unreadable {
        /// The instance.
        id: String,
        /// What is wrong with it.
        #[source]
        source: BoxError,
    },
    /// It is a transaction of a coordinator, which alone writes to it.
    #[error(
        "`{id}` is a two-phase commit and no saga: only its coordinator changes anything in this journal"
    )]
    Transaction {
        /// The transaction.
        id: String,
    },
    /// It has ended: there is nothing to cancel, park or unpark.
    #[error("`{id}` has ended")]
    Ended {
        /// The instance.
        id: String,
    },
    /// It is parked, and goes on when it is unparked.
    #[error("`{id}` is parked: unpark it")]
    Parked {
        /// The instance.
        id: String,
    },
    /// Cancelling comes too late: the pivot is done, or may be.
    #[error("the pivot of `{id}` is done, or may be: there is only forward")]
    TooLate {
        /// The instance.
        id: String,
    },
    /// It changed at the same time, again and again.
    #[error("`{id}` kept changing")]
    Busy {
        /// The instance.
        id: String,
    },
    /// The journal did not answer.
    #[error("the journal did not answer")]
    Journal(#[from] JournalError),
}
