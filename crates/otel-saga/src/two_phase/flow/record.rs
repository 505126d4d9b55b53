//! What a journal holds of a transaction: the records, and the versioned form in which they are written.
//!
//! Follows `docs/sagas.md`, "Records": a record is never changed, and a form that was written once stays readable.

use serde::{Deserialize, Serialize};

use crate::two_phase::Answer;

/// The form that is written today.
const FORM: u16 = 1;

/// How a transaction is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// All commit.
    Commit,
    /// All roll back.
    Abort,
}

impl Decision {
    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Abort => "abort",
        }
    }
}

/// The first record of a transaction: it is durable before the first prepare leaves, so that whoever was asked to prepare
/// is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Started {
    /// The transaction's name.
    pub name: String,
    /// The participants' names, by which the other records number them. A single one commits in one phase.
    pub participants: Vec<String>,
    /// When it was started, in milliseconds since 1970.
    pub at: u64,
    /// The transaction's span as a `traceparent`, under which all calls hang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The parent of that span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

impl Started {
    /// The first record of a transaction of this name with these participants.
    #[must_use]
    pub fn new(name: impl Into<String>, participants: Vec<String>, at: u64) -> Self {
        Self { name: name.into(), participants, at, trace: None, parent: None }
    }

    /// Keeps the transaction's span and its parent, as `traceparent`s.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<String>, parent: Option<String>) -> Self {
        self.trace = trace;
        self.parent = parent;
        self
    }
}

/// One thing that happened to a transaction. Participants are numbered in the order of [`Started::participants`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// It began: from here on participants may be prepared.
    Started(Started),
    /// It is decided. A commit is durable before the first participant is told; an abort need not be.
    Decided {
        /// How.
        decision: Decision,
        /// Who has to be told: those that may be prepared.
        tell: Vec<u16>,
        /// Why it is aborted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A participant has said that it is as it was told, or else what it has done on its own.
    Acknowledged {
        /// The participant's number.
        participant: u16,
        /// What it said.
        answer: Answer,
    },
    /// A participant does not answer. The coordinator that began has told its caller so, and goes on later.
    Waiting {
        /// When this was first so, in milliseconds since 1970.
        at: u64,
        /// The participant's name, and what the call ended with.
        error: String,
    },
    /// Whoever had to be told has acknowledged.
    Ended {
        /// How it was decided.
        decision: Decision,
        /// Why it was aborted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A record that cannot be read: written by a later version of this crate, or not by a coordinator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The form is one that this version does not know.
    #[error("a record of form {form}, which this version of otel-saga does not know")]
    Form {
        /// The form's number.
        form: u16,
    },
    /// The record is no JSON, or not that of a record.
    #[error("a record that is none of a two-phase commit")]
    Json(#[from] serde_json::Error),
}

/// The record is under another name than a saga's, so that neither is taken for the other.
#[derive(Serialize)]
struct Written<'r> {
    v: u16,
    t: &'r Record,
}

#[derive(Deserialize)]
struct Form {
    v: u16,
}

#[derive(Deserialize)]
struct Read {
    t: Record,
}

impl Record {
    /// The record as it is written: one JSON object.
    ///
    /// # Errors
    ///
    /// None that is known: a record holds nothing that JSON cannot.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written { v: FORM, t: self })
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// If the record has a form that is not known, or is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Form { v: form } = serde_json::from_slice(bytes)?;
        if form != FORM {
            return Err(DecodeError::Form { form });
        }
        Ok(serde_json::from_slice::<Read>(bytes)?.t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_stays_as_it_is() {
        let decided = Record::Decided { decision: Decision::Commit, tell: vec![0, 2], reason: None };
        let text = r#"{"v":1,"t":{"decided":{"decision":"commit","tell":[0,2]}}}"#;
        assert_eq!(String::from_utf8(decided.encode().unwrap()).unwrap(), text);
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), decided);

        let started = Record::Started(Started::new("transfer", vec!["a".to_owned()], 5));
        let text = r#"{"v":1,"t":{"started":{"name":"transfer","participants":["a"],"at":5}}}"#;
        assert_eq!(String::from_utf8(started.encode().unwrap()).unwrap(), text);
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), started);
    }

    #[test]
    fn a_saga_is_no_transaction_and_a_transaction_no_saga() {
        let saga = crate::flow::Record::CancelRequested.encode().unwrap();
        assert!(matches!(Record::decode(&saga), Err(DecodeError::Json(_))));
        let waiting = Record::Waiting { at: 1, error: String::new() }.encode().unwrap();
        assert!(crate::flow::Record::decode(&waiting).is_err());
        assert!(matches!(Record::decode(br#"{"v":2,"t":{}}"#), Err(DecodeError::Form { form: 2 })));
    }
}
