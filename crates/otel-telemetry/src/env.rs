//! The `OTEL_*` environment: one place that reads variables, parses them and collects invalid ones.
//!
//! Follows the specification of [environment
//! variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/): an empty value
//! counts as unset; a value that cannot be parsed is reported and ignored.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An environment variable with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvProblem {
    /// The name of the variable.
    pub variable: String,
    /// The value; replaced by a placeholder for variables that carry credentials.
    pub value: String,
    /// The description of valid values.
    pub choices: String,
}

impl fmt::Display for EnvProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={:?} is not understood and is ignored; it can be {}",
            self.variable, self.value, self.choices
        )
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
    pub(crate) fn of_process() -> Self {
        Self::default()
    }

    /// A fixed set of variables instead of the environment of the process.
    pub(crate) fn fixed(variables: HashMap<String, String>) -> Self {
        Self { fixed: Some(variables), problems: Vec::new() }
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

    pub(crate) fn problem(&mut self, variable: &str, value: &str, choices: &str) {
        let problem = EnvProblem {
            variable: variable.to_owned(),
            value: value.to_owned(),
            choices: choices.to_owned(),
        };
        // Each signal reads the variables that apply to all signals.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(crate) fn into_problems(self) -> Vec<EnvProblem> {
        self.problems
    }

    /// Returns the value that belongs to the name in a variable, ignoring case.
    pub(crate) fn choice<T: Copy>(&mut self, variable: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(variable)?;
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&value));
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.problem(variable, &value, &names.join(", "));
        }
        found.map(|(_, choice)| *choice)
    }

    /// Returns true for `true` and false for `false`, in any case. Any other value is a problem and counts as unset.
    pub(crate) fn flag(&mut self, variable: &str) -> Option<bool> {
        self.choice(variable, &[("true", true), ("false", false)])
    }

    /// Returns a number that is not negative.
    pub(crate) fn number<T: FromStr>(&mut self, variable: &str) -> Option<T> {
        let value = self.get(variable)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.problem(variable, &value, "a whole number that is not negative");
        }
        parsed
    }

    /// Returns a duration from a number of milliseconds.
    pub(crate) fn millis(&mut self, variable: &str) -> Option<Duration> {
        self.number(variable).map(Duration::from_millis)
    }

    /// Returns the first variable that is set, with its value.
    pub(crate) fn first<'a>(&mut self, variables: &[&'a str]) -> Option<(&'a str, String)> {
        variables.iter().find_map(|variable| self.get(variable).map(|value| (*variable, value)))
    }

    /// Returns the pairs of headers or resource attributes, in the format of W3C Baggage with percent-encoded values.
    /// One malformed pair invalidates the entire value, as the specification requires for resource attributes.
    pub(crate) fn pairs(&mut self, variable: &str, secret: bool) -> Option<Vec<(String, String)>> {
        let value = self.get(variable)?;
        let pairs: Option<Vec<_>> =
            value.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(pair).collect();
        if pairs.is_none() {
            let shown = if secret { "(not shown)" } else { &value };
            self.problem(variable, shown, "a list like key1=value1,key2=value2 with values percent-encoded");
        }
        pairs
    }
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
