//! The records of a transaction, and the versioned form in which a journal holds them.
//!
//! Follows `docs/sagas.md`, "Records": a record is never changed, and a form that was written once stays readable.

use serde::{Deserialize, Serialize};

use crate::two_phase::Acknowledgement;

/// The form that this version writes.
const FORM: u16 = 1;

/// The decision on a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// All participants commit.
    Commit,
    /// All participants roll back.
    Abort,
}

impl Decision {
    /// The decision as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Abort => "abort",
        }
    }
}

/// The first record of a transaction. It is durable before the first prepare is sent, so that recovery knows every
/// participant that may be prepared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Started {
    /// The transaction's name.
    pub name: String,
    /// The participants' names. Other records refer to them by number. A single participant commits in one phase.
    pub participants: Vec<String>,
    /// The time of the beginning, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The transaction's span as a `traceparent`; the parent of the spans of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The parent of the transaction's span, as a `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

impl Started {
    /// Creates the first record of a transaction.
    #[must_use]
    pub fn new(name: impl Into<String>, participants: Vec<String>, at: u64) -> Self {
        Self { name: name.into(), participants, at, trace: None, parent: None }
    }

    /// Sets the transaction's span and its parent, as `traceparent`s.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<String>, parent: Option<String>) -> Self {
        self.trace = trace;
        self.parent = parent;
        self
    }
}

/// One event in the life of a transaction. Participants are numbered in the order of [`Started::participants`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// The transaction began: from here on participants may be prepared.
    Started(Started),
    /// The transaction was decided. A commit is durable before the first participant is called; an abort need not be.
    Decided {
        /// The decision.
        decision: Decision,
        /// Numbers of the participants to call: those that may be prepared.
        #[serde(rename = "tell")]
        recipients: Vec<u16>,
        /// The reason of an abort.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A participant acknowledged the decision, or reported a heuristic outcome.
    Acknowledged {
        /// Number of the participant.
        participant: u16,
        /// The acknowledgement.
        #[serde(rename = "answer")]
        acknowledgement: Acknowledgement,
    },
    /// A participant has not acknowledged. The transaction returned to the journal, to be resumed later.
    Waiting {
        /// The time of the first failure, in milliseconds since the Unix epoch.
        at: u64,
        /// Name of the participant, and the error of the call.
        error: String,
    },
    /// The transaction ended: every participant that had to be called has acknowledged.
    Ended {
        /// The decision.
        decision: Decision,
        /// The reason of an abort.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A record that cannot be read: a later version of this crate wrote it, or another program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The form is unknown to this version.
    #[error("a record of form {form}, which this version of otel-saga does not know")]
    Form {
        /// Number of the form.
        form: u16,
    },
    /// The text is not JSON, or not a record of a transaction.
    #[error("a record that is none of a two-phase commit")]
    Json(#[from] serde_json::Error),
}

/// Uses the key `t`, a saga's record the key `r`, so that neither can be read as the other.
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
    /// Returns the record in its written form, one JSON object.
    ///
    /// # Errors
    ///
    /// No error is known: a record holds only values that JSON can express.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written { v: FORM, t: self })
    }

    /// Reads a record from its written form.
    ///
    /// # Errors
    ///
    /// Returns an error if the form is unknown, or if the text is not a record.
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
        let decided = Record::Decided { decision: Decision::Commit, recipients: vec![0, 2], reason: None };
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
