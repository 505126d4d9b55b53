//! The records of a saga, and the versioned form in which a journal holds them.
//!
//! Follows `docs/sagas.md`, "Records": a record is never changed, only removed by a compaction, and a form that was
//! written once stays readable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The forms that this version reads. It writes each record in the first form that has it, so that a version that
/// knows only earlier forms still reads what it can.
const FORMS: std::ops::RangeInclusive<u16> = 1..=3;

/// The role of a step when the saga is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// The step is undone by its compensation.
    Compensatable,
    /// The step decides: before it everything can be undone, after it nothing is.
    Pivot,
    /// The step comes after the pivot and is retried until it succeeds.
    Forward,
}

/// The journaled part of a step: everything but its functions and policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepSpec {
    /// The step's name, unique in its saga.
    pub name: String,
    /// The step's role when the saga is undone.
    pub kind: StepKind,
    /// The step's stage. Steps of one stage run at the same time, stages one after the other.
    pub stage: u16,
}

impl StepSpec {
    /// Creates the spec of a step.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: StepKind, stage: u16) -> Self {
        Self { name: name.into(), kind, stage }
    }
}

/// The phase of an attempt: a step is done or undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The step's action.
    Action,
    /// The step's compensation, which undoes the action.
    Compensation,
}

/// The outcome of a saga that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SagaOutcome {
    /// Every step was done.
    Completed,
    /// Every step that was done, or may have been, was undone.
    Compensated,
}

/// The first record of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Started {
    /// The definition's name.
    pub saga: String,
    /// The definition's version. An instance keeps the version that it was started with.
    pub version: u32,
    /// The steps of that version, in the order of their definition.
    pub steps: Vec<StepSpec>,
    /// The input of the saga.
    pub input: Value,
    /// The time of the start, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The span that started the saga, as a `traceparent`; the parent of the spans of attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The rest of the context in which the saga was started, by the names of its W3C headers: `tracestate` and `baggage`. The
    /// steps run in it, also in another process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, String>,
    /// The id of that span's parent in hexadecimal, zeros for a root span, from which recovery can record the span
    /// again. Absent if the start recorded no span of its own and `trace` is the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// A random text that distinguishes the instance from any other one, also from one that had the same id before it
    /// was deleted. Part of the idempotency keys. Absent in instances of versions that derived the keys from the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

impl Started {
    /// Creates the first record of an instance.
    #[must_use]
    pub fn new(saga: impl Into<String>, version: u32, steps: Vec<StepSpec>, input: Value, at: u64) -> Self {
        Self {
            saga: saga.into(),
            version,
            steps,
            input,
            at,
            trace: None,
            carried: BTreeMap::new(),
            parent: None,
            nonce: None,
        }
    }

    /// Sets the span that started the saga, as a `traceparent`.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<String>) -> Self {
        self.trace = trace;
        self
    }

    /// Sets the rest of the context, by the names of its W3C headers.
    #[must_use]
    pub fn with_carried(mut self, carried: BTreeMap<String, String>) -> Self {
        self.carried = carried;
        self
    }

    /// Sets the id of that span's parent, zeros for a root span. Only for a span that the start recorded itself.
    #[must_use]
    pub fn with_parent(mut self, parent: Option<String>) -> Self {
        self.parent = parent;
        self
    }

    /// Sets the random text that distinguishes the instance from any other one.
    #[must_use]
    pub fn with_nonce(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }
}

/// The outcome that an operator states for a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resolution {
    /// The action was done, with this output. For an action that has begun, and was neither refused before the saga
    /// was undone nor undone itself; it replaces an output.
    Done(Value),
    /// The action had no effect and never will: the saga is undone. For an action that has begun and has no outcome,
    /// of a compensatable step or of the pivot.
    Refused,
    /// The action was undone. For a step that is to be undone.
    Undone,
}

impl Resolution {
    /// The resolution as one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Refused => "refused",
            Self::Undone => "undone",
        }
    }
}

/// One event in the life of a saga. Steps are numbered in the order of their definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that are the same in each variant are described once, above them")]
pub enum Record {
    /// The saga started.
    Started(Started),
    /// An attempt is about to start. Its outcome is unknown until a later record states it.
    Intent {
        step: u16,
        phase: Phase,
        /// Number of the attempt, from 1, counted per step and phase.
        attempt: u32,
        /// Milliseconds since the Unix epoch.
        at: u64,
        /// The id of the attempt's span, in hexadecimal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        span: Option<String>,
    },
    /// The action succeeded.
    Done { step: u16, output: Value },
    /// The participant refused the action: under this key nothing has happened, and nothing will.
    Refused { step: u16, error: String },
    /// The attempt failed; it may have had an effect.
    Failed {
        step: u16,
        phase: Phase,
        error: String,
        /// Earliest start of the next attempt, in milliseconds since the Unix epoch.
        retry_at: u64,
        /// No further attempt follows, and the step is undone. Only the action of a compensatable step is given up.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gave_up: bool,
        /// The wait that the step asked for, in milliseconds, in place of that of its policy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait: Option<u64>,
    },
    /// The attempt was interrupted: its worker stopped or lost the instance before an outcome was journaled.
    Interrupted {
        step: u16,
        phase: Phase,
        /// Earliest start of the next attempt, in milliseconds since the Unix epoch.
        retry_at: u64,
    },
    /// Attempts whose records were removed, because the step was repeated so often. None of them has succeeded.
    Compacted {
        step: u16,
        phase: Phase,
        /// Number of the first attempt.
        first: u32,
        /// Number of the last attempt.
        last: u32,
        /// The number of attempts that have failed. The others were interrupted.
        failures: u32,
    },
    /// The compensation succeeded.
    Undone { step: u16 },
    /// A cancellation was requested. It has no effect once the pivot has begun.
    CancelRequested,
    /// A parking was requested: no attempt starts, and the worker parks the saga when its attempts have ended.
    ParkRequested { reason: String },
    /// The saga was parked: nothing runs until it is unparked.
    Parked { reason: String },
    /// The saga was unparked. Steps that wait for their next attempt become due, also those whose attempt is running.
    Unparked,
    /// An operator stated the outcome of a step of a parked saga.
    Resolved {
        step: u16,
        resolution: Resolution,
        /// The operator.
        who: String,
        /// The reason.
        why: String,
        /// Milliseconds since the Unix epoch.
        at: u64,
    },
    /// The saga ended.
    Ended {
        #[serde(rename = "end")]
        outcome: SagaOutcome,
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
    /// The text is not JSON, or not a record.
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
    /// The first form that has this record.
    fn form(&self) -> u16 {
        match self {
            Self::Interrupted { .. } | Self::ParkRequested { .. } | Self::Resolved { .. } => 2,
            Self::Compacted { .. } => 3,
            _ => 1,
        }
    }

    /// Returns the record in its written form, one JSON object.
    ///
    /// # Errors
    ///
    /// Returns an error if a value cannot be written as JSON, which does not occur with a [`Value`].
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written { v: self.form(), r: self })
    }

    /// Reads a record from its written form.
    ///
    /// # Errors
    ///
    /// Returns an error if the form is unknown, or if the text is not a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        // The form is checked first: a later form may have records that this version does not know.
        let Form { v: form } = serde_json::from_slice(bytes)?;
        if !FORMS.contains(&form) {
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

        let steps = vec![StepSpec::new("pay", StepKind::Pivot, 0)];
        let started = Started::new("order", 1, steps, json!({"n": 1}), 5);
        let traced =
            started.clone().with_trace(Some("00-a-b-01".to_owned())).with_parent(Some("c".to_owned()));
        let traced = String::from_utf8(Record::Started(traced).encode().unwrap()).unwrap();
        assert!(traced.ends_with(r#","at":5,"trace":"00-a-b-01","parent":"c"}}}"#), "{traced}");
        let keyed = Record::Started(started.clone().with_nonce("d")).encode().unwrap();
        assert!(keyed.ends_with(br#","at":5,"nonce":"d"}}}"#));
        let started = Record::Started(started);
        let text = concat!(
            r#"{"v":1,"r":{"started":{"saga":"order","version":1,"#,
            r#""steps":[{"name":"pay","kind":"pivot","stage":0}],"input":{"n":1},"at":5}}}"#
        );
        assert_eq!(String::from_utf8(started.encode().unwrap()).unwrap(), text);
        assert_eq!(Record::decode(text.as_bytes()).unwrap(), started);
    }

    #[test]
    fn later_records_have_a_later_form() {
        let (step, phase) = (0, Phase::Action);
        let (who, why) = ("ann".to_owned(), "asked".to_owned());
        for (record, text) in [
            (
                Record::Interrupted { step, phase, retry_at: 9 },
                r#"{"v":2,"r":{"interrupted":{"step":0,"phase":"action","retry_at":9}}}"#,
            ),
            (
                Record::Compacted { step, phase, first: 2, last: 31, failures: 30 },
                r#"{"v":3,"r":{"compacted":{"step":0,"phase":"action","first":2,"last":31,"failures":30}}}"#,
            ),
            (
                Record::ParkRequested { reason: "a look".to_owned() },
                r#"{"v":2,"r":{"park_requested":{"reason":"a look"}}}"#,
            ),
            (
                Record::Resolved { step, resolution: Resolution::Done(json!(7)), who, why, at: 9 },
                r#"{"v":2,"r":{"resolved":{"step":0,"resolution":{"done":7},"who":"ann","why":"asked","at":9}}}"#,
            ),
            (
                Record::Failed {
                    step,
                    phase,
                    error: "no".to_owned(),
                    retry_at: 9,
                    gave_up: false,
                    wait: Some(5),
                },
                r#"{"v":1,"r":{"failed":{"step":0,"phase":"action","error":"no","retry_at":9,"wait":5}}}"#,
            ),
        ] {
            assert_eq!(String::from_utf8(record.encode().unwrap()).unwrap(), text);
            assert_eq!(Record::decode(text.as_bytes()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_not_known_is_an_error_and_no_panic() {
        let later = Record::decode(br#"{"v":4,"r":{"levitated":{"step":1}}}"#);
        assert!(matches!(later, Err(DecodeError::Form { form: 4 })));
        assert!(matches!(Record::decode(br#"{"v":1,"r":{"levitated":{}}}"#), Err(DecodeError::Json(_))));
        assert!(matches!(Record::decode(b"\xff\x00"), Err(DecodeError::Json(_))));
    }
}
