//! Outcome classes and their counts.
//!
//! A class consists of the attributes that a span and its duration have in common: protocol version, status and
//! `error.type` in HTTP's semantic conventions, operation name and `error.type` in messaging's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;

/// The outcome class of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Class {
    /// `messaging.operation.name`, in messaging.
    pub operation: Option<String>,
    /// The protocol version, if known.
    pub version: Option<String>,
    /// The status, if there was a response.
    pub status: Option<i64>,
    /// The `error.type` of a failure.
    pub error: Option<String>,
}

impl Class {
    /// Returns the class of a span or a metric data point with these attributes.
    #[must_use]
    pub fn from_attributes<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>) -> Self {
        let mut class = Self::default();
        for attribute in attributes {
            match attribute.key.as_str() {
                "messaging.operation.name" => class.operation = Some(attribute.value.to_string()),
                "network.protocol.version" => class.version = Some(attribute.value.to_string()),
                "http.response.status_code" => {
                    // An invalid status becomes −1, a class that no other count has.
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

/// The counts of all classes. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<Class, u64>>>);

impl Tally {
    /// Counts one operation of this class.
    pub fn add(&self, class: Class) {
        self.add_many(class, 1);
    }

    /// Counts one operation of messaging with this name and `error.type`.
    pub fn count(&self, operation: &str, error: Option<String>) {
        self.add(Class { operation: Some(operation.to_owned()), error, ..Class::default() });
    }

    /// Counts several operations of this class.
    pub fn add_many(&self, class: Class, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(class).or_default() += count;
    }

    /// Returns the number of all operations of messaging with one of these names.
    #[must_use]
    pub fn total(&self, operations: &[&str]) -> u64 {
        let is_one = |class: &Class| operations.iter().any(|&one| class.operation.as_deref() == Some(one));
        self.counts().iter().filter(|(class, _)| is_one(class)).map(|(_, count)| count).sum()
    }

    /// Returns the current counts.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Class, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
