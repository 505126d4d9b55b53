//! Headers that travel unchanged from what came in to what goes out: request ids, and what service meshes need.
//!
//! No specification covers them; repeated headers are joined as RFC 9110, section 5.3, allows.

use std::sync::Arc;

use opentelemetry::Context;

use crate::carrier::HeaderWriter;
use crate::carrier_fields::CarrierFields;
use crate::extracted::Extracted;
use crate::fields::is_token;
use crate::inbound::InboundState;

/// Limit of names that are passed through.
const MAX_NAMES: usize = 32;
/// The bytes of all values together that are kept for one context.
const MAX_BYTES: usize = 8192;

/// Passes a list of headers through: what is received under these names is sent with every call that is made in that
/// context.
///
/// A header that the caller has set is neither removed nor replaced. That cannot be promised behind a foreign composite
/// propagator, nor through an [`Injector`](opentelemetry::propagation::Injector), which can only set; use [`CompositePropagator`](crate::CompositePropagator).
///
/// Values are text without control characters other than tab; others are dropped. A repeated header goes out as one,
/// joined by `, `. At most 32 names, and 8192 bytes of values together, are kept; a value that does not fit any more is
/// dropped.
///
/// A public endpoint passes nothing through, because it continues nothing of its callers.
///
/// List only headers that may go to every service that is called: values are not checked for secrets.
#[derive(Clone, Debug)]
pub struct PassThroughPropagator {
    /// Lower case. The strings are what `fields` lists, the shared ones what each context keeps.
    fields: Vec<String>,
    names: Vec<Arc<str>>,
}

/// A list of names that cannot be passed through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassThroughError {
    /// The name is not a header's name, a token of RFC 9110.
    #[error("pass-through header {name:?} rejected: the name is no token (RFC 9110, section 5.6.2)")]
    #[non_exhaustive]
    Name {
        /// The name.
        name: String,
    },
    /// There are more names than the limit.
    #[error("pass-through header {name:?} rejected: more than {limit} names")]
    #[non_exhaustive]
    TooMany {
        /// The first name beyond the limit.
        name: String,
        /// The limit.
        limit: usize,
    },
}

impl PassThroughPropagator {
    /// Names the headers, in any case; they are sent in lower case.
    ///
    /// # Errors
    ///
    /// A name that is no header's name, or more than 32 names.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, PassThroughError> {
        let mut pass_through = Self { fields: Vec::new(), names: Vec::new() };
        for name in names {
            let name = name.as_ref().to_ascii_lowercase();
            if !is_token(name.as_bytes()) {
                return Err(PassThroughError::Name { name });
            }
            if pass_through.position(&name).is_some() {
                continue;
            }
            if pass_through.names.len() == MAX_NAMES {
                return Err(PassThroughError::TooMany { name, limit: MAX_NAMES });
            }
            pass_through.push(name.into());
        }
        Ok(pass_through)
    }

    fn push(&mut self, name: Arc<str>) {
        self.fields.push(name.as_ref().to_owned());
        self.names.push(name);
    }

    /// Adds the names of another one, up to the limit.
    pub(crate) fn merge(&mut self, other: Self) {
        for name in other.names {
            if self.position(&name).is_none() && self.names.len() < MAX_NAMES {
                self.push(name);
            }
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.fields
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|known| known.eq_ignore_ascii_case(name))
    }

    pub(crate) fn read(&self, fields: &CarrierFields<'_, '_>, extracted: &mut Extracted) {
        if !fields.has_pass_through_values() {
            return;
        }
        let mut left = MAX_BYTES;
        let mut kept = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            if let Some(value) = join(fields.pass_through_values(index), left) {
                left -= value.len();
                kept.push((Arc::clone(name), value));
            }
        }
        extracted.put_pass_through_values(kept);
    }

    pub(crate) fn write<C: HeaderWriter>(&self, cx: &Context, carrier: &mut C) {
        let Some(passed) = cx.get::<InboundState>().and_then(|state| state.pass_through.as_deref()) else {
            return;
        };
        for (name, value) in passed {
            // The context may hold headers that another propagator passes through.
            if self.position(name).is_some() && !carrier.contains(name) {
                carrier.set(name, value);
            }
        }
    }
}

/// Joins the values of one header; none if they are too long together, or one of them is not text.
fn join<'a>(values: impl Iterator<Item = &'a [u8]>, limit: usize) -> Option<Box<str>> {
    let mut joined = String::new();
    for value in values.filter(|value| !value.is_empty()) {
        let value = std::str::from_utf8(value).ok()?;
        let separator = if joined.is_empty() { "" } else { ", " };
        let fits = joined.len() + separator.len() + value.len() <= limit;
        if !fits || value.chars().any(|char| char.is_control() && char != '\t') {
            return None;
        }
        joined.push_str(separator);
        joined.push_str(value);
    }
    (!joined.is_empty()).then(|| joined.into())
}
