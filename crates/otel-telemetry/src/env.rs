//! The `OTEL_*` environment: one place that reads variables, parses them and collects invalid ones.
//!
//! Follows the specification of [environment
//! variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/): an empty value
//! counts as unset; a value that cannot be parsed or is out of range is reported and ignored. There is one parser for
//! each of its [types](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#configuration-types):
//! [`Env::flag`] (Boolean), [`Env::integer`], [`Env::interval`] (Duration), [`Env::timeout`], [`Env::get`] (String),
//! [`Env::choice`] (Enum), and [`Env::attributes`] and [`Env::headers`] for lists of pairs.

mod variables;

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use self::variables::unsupported;

/// The longest duration, and the one that stands for an indefinite timeout: 2³² − 1 milliseconds, which is 49 days.
pub(crate) const INDEFINITE: Duration = Duration::from_millis(u32::MAX as u64);

/// An environment variable that has no effect, because its value is invalid or because it is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvProblem {
    /// The name of the variable.
    pub variable: String,
    /// The value; replaced by a placeholder for variables that carry credentials.
    pub value: String,
    /// The description of valid values; empty if the variable is not supported.
    pub choices: String,
    /// The consequence of an invalid value, such as `it is ignored`.
    pub effect: String,
}

impl EnvProblem {
    /// Returns true for a variable of the specification that this crate does not support, whatever its value.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.choices.is_empty()
    }
}

impl fmt::Display for EnvProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, value, choices, effect } = self;
        if self.is_unsupported() {
            return write!(f, "{variable}={value:?} is not supported: {effect}");
        }
        write!(f, "{variable}={value:?} is not valid: {effect}; valid: {choices}")
    }
}

/// The source of the variables, and the problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Env {
    fixed: Option<HashMap<String, String>>,
    problems: Vec<EnvProblem>,
}

impl Env {
    /// The environment of the process.
    pub(crate) fn from_process() -> Self {
        Self::default()
    }

    /// A fixed set of variables instead of the environment of the process.
    pub(crate) fn fixed(variables: HashMap<String, String>) -> Self {
        Self { fixed: Some(variables), ..Self::default() }
    }

    /// Returns the trimmed value of a variable, if it is set and not empty.
    pub(crate) fn get(&mut self, variable: &str) -> Option<String> {
        let value = match &self.fixed {
            Some(variables) => variables.get(variable).cloned(),
            None => match std::env::var(variable) {
                Ok(value) => Some(value),
                Err(std::env::VarError::NotPresent) => None,
                Err(std::env::VarError::NotUnicode(value)) => {
                    self.problem(variable, &value.to_string_lossy(), "text in UTF-8");
                    None
                }
            },
        };
        value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Reports a value that counts as unset.
    pub(crate) fn problem(&mut self, variable: &str, value: &str, choices: &str) {
        self.problem_with_effect(variable, value, choices, "it is ignored");
    }

    /// Reports an invalid value that has a consequence of its own.
    pub(crate) fn problem_with_effect(&mut self, variable: &str, value: &str, choices: &str, effect: &str) {
        let problem = EnvProblem {
            variable: variable.to_owned(),
            value: value.to_owned(),
            choices: choices.to_owned(),
            effect: effect.to_owned(),
        };
        // Each signal reads the variables that apply to all signals.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Reports each variable of the specification that is set and has no effect.
    pub(crate) fn check_unsupported(&mut self) {
        for (variable, instead) in unsupported() {
            if let Some(value) = self.get(&variable) {
                // The part of a URL before an `@` is credentials, and a query can have some.
                let shown = if value.contains(['@', '?']) { "(not shown)" } else { &value };
                self.problem_with_effect(&variable, shown, "", instead);
            }
        }
    }

    pub(crate) fn into_problems(self) -> Vec<EnvProblem> {
        self.problems
    }

    /// Returns the value that belongs to the name in a variable, ignoring case.
    pub(crate) fn choice<T: Copy>(&mut self, variable: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(variable)?;
        let choice = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&value));
        if choice.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.problem(variable, &value, &names.join(", "));
        }
        choice.map(|(_, choice)| *choice)
    }

    /// Returns true for `true`, in any case, and false for any other value, because the specification allows no other
    /// value to mean true.
    pub(crate) fn flag(&mut self, variable: &str) -> Option<bool> {
        let value = self.get(variable)?;
        let is_true = value.eq_ignore_ascii_case("true");
        if !is_true && !value.eq_ignore_ascii_case("false") {
            self.problem_with_effect(variable, &value, "true, false", "it counts as false");
        }
        Some(is_true)
    }

    /// Returns a number of at least `least`, up to 2³² − 1.
    pub(crate) fn integer(&mut self, variable: &str, least: u32) -> Option<u32> {
        let choices = format!("a whole number from {least} to {}", u32::MAX);
        let number = self.number(variable, u64::from(least)..=u64::from(u32::MAX), &choices)?;
        u32::try_from(number).ok()
    }

    /// Returns the time from the start of one export to that of the next. Zero is out of range, because an export would start as soon
    /// as the previous one has ended.
    pub(crate) fn interval(&mut self, variable: &str) -> Option<Duration> {
        let millis = self.number(variable, 1..=u64::MAX, "a whole number of milliseconds, from 1")?;
        Some(Duration::from_millis(millis).min(INDEFINITE))
    }

    /// Returns a timeout; zero is [`INDEFINITE`].
    pub(crate) fn timeout(&mut self, variable: &str) -> Option<Duration> {
        let choices = "a whole number of milliseconds; 0 is indefinite";
        let millis = self.number(variable, 0..=u64::MAX, choices)?;
        Some(timeout(Duration::from_millis(millis)))
    }

    fn number(&mut self, variable: &str, range: RangeInclusive<u64>, choices: &str) -> Option<u64> {
        let value = self.get(variable)?;
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.problem(variable, &value, choices);
        }
        number
    }

    /// Returns the first variable that is set, with its value.
    pub(crate) fn first<'a>(&mut self, variables: &[&'a str]) -> Option<(&'a str, String)> {
        variables.iter().find_map(|variable| self.get(variable).map(|value| (*variable, value)))
    }

    /// Returns resource attributes, in the format of W3C Baggage with percent-encoded values. One malformed pair
    /// invalidates the entire value, as [the
    /// specification](https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable)
    /// requires.
    pub(crate) fn attributes(&mut self, variable: &str) -> Option<Vec<(String, String)>> {
        let value = self.get(variable)?;
        let attributes: Option<Vec<_>> = entries(&value).map(pair).collect();
        if attributes.is_none() {
            self.problem(variable, &value, PAIRS);
        }
        attributes
    }

    /// Returns the headers of the first variable that is set, in the same format. A malformed entry is left out, because
    /// a header that is not meant must not be sent. Its text is not shown, because headers carry credentials.
    pub(crate) fn headers(&mut self, variables: &[&str]) -> Vec<(String, String)> {
        let Some((variable, value)) = self.first(variables) else { return Vec::new() };
        let mut headers = Vec::new();
        for (index, entry) in entries(&value).enumerate() {
            match pair(entry).filter(|(name, value)| header(name, value).is_some()) {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value)),
                None => {
                    let effect = format!("entry {} is not sent", index + 1);
                    self.problem_with_effect(variable, "(not shown)", PAIRS, &effect);
                }
            }
        }
        headers
    }
}

/// The description of valid lists of pairs.
const PAIRS: &str = "a list like key1=value1,key2=value2 with values percent-encoded";

/// Returns a timeout as the specification interprets it: zero is indefinite.
pub(crate) fn timeout(timeout: Duration) -> Duration {
    if timeout.is_zero() { INDEFINITE } else { timeout.min(INDEFINITE) }
}

/// Returns the entries of a list that are not blank.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// Returns the header, unless its name or its value is invalid or it would change where a request ends.
pub(crate) fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(name).ok()?;
    let frames = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    if frames.contains(&name) { None } else { Some((name, HeaderValue::try_from(value).ok()?)) }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let key = percent_decoded(key.trim())?;
    (!key.is_empty()).then_some((key, percent_decoded(value.trim())?))
}

/// Returns `None` for an invalid escape and for a result that is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests;
