//! What a journal holds of a saga: the records, and the versioned form in which they are written.
//!
//! Follows `docs/sagas.md`, "Records": a record is never changed, and a form that was written once stays readable.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The form that is written today.
const FORM: u16 = 1;

/// What becomes of a step when the saga cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// It is undone.
    Compensatable,
    /// It decides: before it everything can be undone, after it there is only forward.
    Pivot,
    /// It comes after the pivot and is tried until it succeeds.
    Forward,
}

/// A step as the journal knows it: without its functions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepShape {
    /// The step's name, of which there is one in a saga.
    pub name: String,
    /// What becomes of it when the saga cannot go on.
    pub kind: StepKind,
    /// Steps of one stage run at the same time, stages one after the other.
    pub stage: u16,
}

impl StepShape {
    /// A step of this name, kind and stage.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: StepKind, stage: u16) -> Self {
        Self { name: name.into(), kind, stage }
    }
}

/// Whether a step is done or undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The step's action.
    Action,
    /// What undoes it.
    Compensation,
}

/// How a saga ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// Every step was done.
    Completed,
    /// Every step that was done, or may have been, was undone.
    Compensated,
}

/// The first record of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Started {
    /// The definition's name.
    pub saga: String,
    /// The definition's version: an instance goes on with the one that it began with.
    pub version: u32,
    /// The steps of that version.
    pub steps: Vec<StepShape>,
    /// What the saga was started with.
    pub input: Value,
    /// When it was started, in milliseconds since 1970.
    pub at: u64,
    /// The span that started it, as a `traceparent`, under which its attempts hang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The id of that span's own parent in hexadecimal, zeros for none, by which the span can be told again. Absent if the
    /// start had no span of its own, and `trace` is its caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

impl Started {
    /// The first record of an instance of this saga.
    #[must_use]
    pub fn new(saga: impl Into<String>, version: u32, steps: Vec<StepShape>, input: Value, at: u64) -> Self {
        Self { saga: saga.into(), version, steps, input, at, trace: None, parent: None }
    }

    /// Keeps the span that started the saga, as a `traceparent`.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<String>) -> Self {
        self.trace = trace;
        self
    }

    /// Keeps the id of that span's parent, zeros for none, if the span is the start's own.
    #[must_use]
    pub fn with_parent(mut self, parent: Option<String>) -> Self {
        self.parent = parent;
        self
    }
}

/// One thing that happened to a saga. Steps are numbered in the order of their definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that are the same in each variant are described once, above them")]
pub enum Record {
    /// It began.
    Started(Started),
    /// An attempt is about to be made: from here on its outcome is unknown until another record tells it.
    Intent {
        step: u16,
        phase: Phase,
        /// Counted from 1, for each step and phase.
        attempt: u32,
        /// Milliseconds since 1970.
        at: u64,
        /// The id of the attempt's span, in hexadecimal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        span: Option<String>,
    },
    /// The action succeeded.
    Done { step: u16, output: Value },
    /// The participant refused the action: under this key nothing has happened, nor will it.
    Refused { step: u16, error: String },
    /// The attempt failed, and whether it had an effect is unknown.
    Failed {
        step: u16,
        phase: Phase,
        error: String,
        /// When the next attempt may begin, in milliseconds since 1970.
        retry_at: u64,
        /// There is no next attempt: the step is undone. Pivots, forward steps and compensations are never given up.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gave_up: bool,
    },
    /// The compensation succeeded.
    Undone { step: u16 },
    /// Somebody asked for the saga to be undone. Too late once the pivot may have been done.
    CancelRequested,
    /// It stands still until somebody looks at it.
    Parked { reason: String },
    /// It goes on; what waited for its next attempt waits no longer.
    Unparked,
    /// Nothing is left to do.
    Ended { end: End },
}

/// A record that cannot be read: written by a later version of this crate, or not by it.
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
    #[error("a record that cannot be read")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Written<'r> {
    v: u16,
    r: &'r Record,
}

#[derive(Deserialize)]
struct Form {
    v: u16,
}

#[derive(Deserialize)]
struct Read {
    r: Record,
}

impl Record {
    /// The record as it is written: one JSON object.
    ///
    /// # Errors
    ///
    /// Where an output holds what JSON cannot, which [`Value`] rules out.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written { v: FORM, r: self })
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// If the record has a form that is not known, or is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        // The form first: a later one may have records that are not known here.
        let Form { v: form } = serde_json::from_slice(bytes)?;
        if form != FORM {
            return Err(DecodeError::Form { form });
        }
        Ok(serde_json::from_slice::<Read>(bytes)?.r)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_written_form_stays_as_it_is() {
        let intent = Record::Intent { step: 2, phase: Phase::Compensation, attempt: 3, at: 17, span: None };
        let text = r#"{"v":1,"r":{"intent":{"step":2,"phase":"compensation","attempt":3,"at":17}}}"#;
        assert_eq!(String::from_utf8(intent.encode().unwrap()).unwrap(), text);
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), intent);

        let steps = vec![StepShape::new("pay", StepKind::Pivot, 0)];
        let started = Started::new("order", 1, steps, json!({"n": 1}), 5);
        let traced =
            started.clone().with_trace(Some("00-a-b-01".to_owned())).with_parent(Some("c".to_owned()));
        let traced = String::from_utf8(Record::Started(traced).encode().unwrap()).unwrap();
        assert!(traced.ends_with(r#","at":5,"trace":"00-a-b-01","parent":"c"}}}"#), "{traced}");
        let started = Record::Started(started);
        let text = concat!(
            r#"{"v":1,"r":{"started":{"saga":"order","version":1,"#,
            r#""steps":[{"name":"pay","kind":"pivot","stage":0}],"input":{"n":1},"at":5}}}"#
        );
        assert_eq!(String::from_utf8(started.encode().unwrap()).unwrap(), text);
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), started);
    }

    #[test]
    fn what_is_not_known_is_an_error_and_no_panic() {
        let later = Record::decode(br#"{"v":2,"r":{"levitated":{"step":1}}}"#);
        assert!(matches!(later, Err(DecodeError::Form { form: 2 })));
        assert!(matches!(Record::decode(br#"{"v":1,"r":{"levitated":{}}}"#), Err(DecodeError::Json(_))));
        assert!(matches!(Record::decode(b"\xff\x00"), Err(DecodeError::Json(_))));
    }
}
