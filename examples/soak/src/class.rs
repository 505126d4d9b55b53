//! Outcome classes, and how often each has been seen.
//!
//! A class is what a span and its duration both say of an end: in HTTP's semantic conventions the protocol's version, the
//! status and `error.type`, in messaging's the operation's name and `error.type`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;

/// How an operation ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Class {
    /// What was done, in messaging: `messaging.operation.name`.
    pub operation: Option<String>,
    /// The protocol's version, where it was known.
    pub version: Option<String>,
    /// The status, where there was an answer.
    pub status: Option<i64>,
    /// The `error.type` of a failure.
    pub error: Option<String>,
}

impl Class {
    /// The class that these attributes of a span or of a metric's series tell.
    #[must_use]
    pub fn of_attributes<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>) -> Self {
        let mut class = Self::default();
        for attribute in attributes {
            match attribute.key.as_str() {
                "messaging.operation.name" => class.operation = Some(attribute.value.to_string()),
                "network.protocol.version" => class.version = Some(attribute.value.to_string()),
                "http.response.status_code" => {
                    // A status that is no number is a class of its own, so that it is seen.
                    class.status = Some(attribute.value.to_string().parse().unwrap_or(-1));
                }
                "error.type" => class.error = Some(attribute.value.to_string()),
                _ => {}
            }
        }
        class
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dash = || "-".to_owned();
        let version = self.version.clone().unwrap_or_else(dash);
        let status = self.status.map_or_else(dash, |status| status.to_string());
        let error = self.error.clone().unwrap_or_else(dash);
        if let Some(operation) = &self.operation {
            return write!(f, "{operation:<9} {error}");
        }
        write!(f, "{version:<4} {status:<4} {error}")
    }
}

/// How often each class has been seen. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<Class, u64>>>);

impl Tally {
    /// Counts one operation of this class.
    pub fn add(&self, class: Class) {
        self.add_many(class, 1);
    }

    /// Counts several operations of this class.
    pub fn add_many(&self, class: Class, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(class).or_default() += count;
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Class, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
