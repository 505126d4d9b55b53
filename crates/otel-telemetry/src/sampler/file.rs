//! The sampler file: OpenTelemetry's declarative configuration, as JSON.
//!
//! Follows the schema of [declarative configuration](https://github.com/open-telemetry/opentelemetry-configuration)
//! (`TracerProvider.sampler` and the types that it references). JSON is a subset of YAML, the usual format of the
//! schema, so that other implementations can read such a file. The conditions `service` and `span_name` and the
//! sampler `adaptive` are extensions.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use opentelemetry::trace::SpanKind;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, de};

use super::{ParentBased, Rule, Rules, Sampler, SpanParent};

/// Maximum length of a file, so that a wrong path cannot exhaust the memory.
const MAX_BYTES: u64 = 1 << 20;

/// An error of a sampler file, with its position.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    #[non_exhaustive]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is longer than 1 MiB.
    #[error("{}: longer than {MAX_BYTES} bytes", path.display())]
    #[non_exhaustive]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is not valid JSON, or does not describe a sampler.
    #[error("{}:{line}:{column}: {message}", path.display())]
    #[non_exhaustive]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, starting at one.
        line: usize,
        /// The column in bytes, starting at one.
        column: usize,
        /// The description of the problem.
        message: String,
    },
}

/// The metadata that shows that a file has changed since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(Option<SystemTime>, u64)>);

impl Stamp {
    /// The stamp of a missing file.
    pub(super) const MISSING: Self = Self(None);

    pub(super) fn read(path: &Path) -> Self {
        Self(path.metadata().ok().map(|found| (found.modified().ok(), found.len())))
    }
}

/// Reads a file of at most [`MAX_BYTES`].
pub(super) fn read(path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(source) => Err(FileError::Read { path: path.into(), source }),
        Ok(_) if text.len() as u64 > MAX_BYTES => Err(FileError::TooLong { path: path.into() }),
        Ok(_) => Ok(text),
    }
}

/// Builds the sampler that a file's text describes, for the service with this name.
pub(super) fn parse(path: &Path, text: &str, service: &str) -> Result<Sampler, FileError> {
    let document: Document = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        // The position is removed, because the error starts with it.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        FileError::Invalid {
            path: path.into(),
            line: error.line(),
            column: error.column(),
            message: message.to_owned(),
        }
    })?;
    Ok(document.tracer_provider.sampler.build(service))
}

/// The document; other members are ignored, because they concern other readers.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "file_format", deserialize_with = "file_format")]
    _file_format: (),
    tracer_provider: TracerProvider,
}

#[derive(Deserialize)]
struct TracerProvider {
    sampler: Top,
}

#[derive(Deserialize)]
enum Top {
    #[serde(rename = "always_on", deserialize_with = "nothing")]
    AlwaysOn(()),
    #[serde(rename = "always_off", deserialize_with = "nothing")]
    AlwaysOff(()),
    #[serde(rename = "trace_id_ratio_based", alias = "probability/development")]
    Ratio(Option<Ratio>),
    #[serde(rename = "parent_based")]
    ParentBased(Option<Box<Parents>>),
    #[serde(rename = "composite/development")]
    Composite(Composable),
    #[serde(rename = "adaptive")]
    Adaptive(Adaptive),
}

impl Top {
    fn build(self, service: &str) -> Sampler {
        match self {
            Self::AlwaysOn(()) => Sampler::always(),
            Self::AlwaysOff(()) => Sampler::never(),
            Self::Ratio(ratio) => ratio.unwrap_or_default().build(),
            Self::ParentBased(parents) => parents.unwrap_or_default().build(service),
            Self::Composite(sampler) => sampler.build(service),
            Self::Adaptive(adaptive) => adaptive.build(),
        }
    }
}

/// The samplers of `composite/development`, which always write their probability.
#[derive(Deserialize)]
enum Composable {
    #[serde(rename = "always_on", deserialize_with = "nothing")]
    AlwaysOn(()),
    #[serde(rename = "always_off", deserialize_with = "nothing")]
    AlwaysOff(()),
    #[serde(rename = "probability")]
    Probability(Option<Ratio>),
    #[serde(rename = "parent_threshold")]
    ParentThreshold(Root),
    #[serde(rename = "rule_based")]
    RuleBased(Option<RuleBased>),
    #[serde(rename = "adaptive")]
    Adaptive(Adaptive),
}

impl Composable {
    fn build(self, service: &str) -> Sampler {
        match self {
            Self::AlwaysOn(()) => Sampler::ratio(1.0),
            Self::AlwaysOff(()) => Sampler::never(),
            Self::Probability(ratio) => ratio.unwrap_or_default().build(),
            Self::ParentThreshold(Root { root }) => Sampler::parent_based(root.build(service)),
            Self::RuleBased(rules) => {
                let rules = rules.and_then(|rules| rules.rules).unwrap_or_default();
                rules.into_iter().fold(Rules::new(service), |table, rule| rule.add_to(table, service)).into()
            }
            Self::Adaptive(adaptive) => adaptive.build(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    #[serde(default, deserialize_with = "ratio")]
    ratio: Option<f64>,
}

impl Ratio {
    fn build(self) -> Sampler {
        Sampler::ratio(self.ratio.unwrap_or(1.0))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adaptive {
    #[serde(deserialize_with = "rate")]
    traces_per_second: f64,
}

impl Adaptive {
    fn build(self) -> Sampler {
        Sampler::adaptive(self.traces_per_second)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parents {
    root: Option<Top>,
    remote_parent_sampled: Option<Top>,
    remote_parent_not_sampled: Option<Top>,
    local_parent_sampled: Option<Top>,
    local_parent_not_sampled: Option<Top>,
}

impl Parents {
    fn build(self, service: &str) -> Sampler {
        let mut sampler = ParentBased::new(self.root.map_or(Sampler::always(), |root| root.build(service)));
        if let Some(delegate) = self.remote_parent_sampled {
            sampler = sampler.with_remote_parent_sampled(delegate.build(service));
        }
        if let Some(delegate) = self.remote_parent_not_sampled {
            sampler = sampler.with_remote_parent_not_sampled(delegate.build(service));
        }
        if let Some(delegate) = self.local_parent_sampled {
            sampler = sampler.with_local_parent_sampled(delegate.build(service));
        }
        if let Some(delegate) = self.local_parent_not_sampled {
            sampler = sampler.with_local_parent_not_sampled(delegate.build(service));
        }
        sampler.into()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    root: Box<Composable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleBased {
    rules: Option<Vec<RuleEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    service: Option<String>,
    span_name: Option<String>,
    #[serde(default, deserialize_with = "some_items")]
    span_kinds: Option<Vec<Kind>>,
    #[serde(default, deserialize_with = "some_items")]
    parent: Option<Vec<Parent>>,
    attribute_values: Option<Values>,
    attribute_patterns: Option<Patterns>,
    sampler: Composable,
}

impl RuleEntry {
    fn add_to(self, table: Rules, service: &str) -> Rules {
        let mut rule = Rule::new(self.sampler.build(service));
        if let Some(pattern) = self.service {
            rule = rule.with_service(&pattern);
        }
        if let Some(pattern) = self.span_name {
            rule = rule.with_span_name(&pattern);
        }
        if let Some(kinds) = self.span_kinds {
            rule = rule.with_kinds(kinds.into_iter().map(Kind::into_api));
        }
        if let Some(parents) = self.parent {
            rule = rule.with_parents(parents.into_iter().map(Parent::into_api));
        }
        if let Some(Values { key, values }) = self.attribute_values {
            rule = rule.with_attribute(&key, values.unwrap_or_default());
        }
        if let Some(Patterns { key, included, excluded }) = self.attribute_patterns {
            rule = rule.with_attribute_patterns(&key, &strs(&included), &strs(&excluded));
        }
        table.with_rule(rule)
    }
}

fn strs(texts: &Option<Vec<String>>) -> Vec<&str> {
    texts.iter().flatten().map(String::as_str).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    key: String,
    #[serde(deserialize_with = "some_items")]
    values: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patterns {
    key: String,
    #[serde(default, deserialize_with = "some_items")]
    included: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some_items")]
    excluded: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl Kind {
    fn into_api(self) -> SpanKind {
        match self {
            Self::Internal => SpanKind::Internal,
            Self::Server => SpanKind::Server,
            Self::Client => SpanKind::Client,
            Self::Producer => SpanKind::Producer,
            Self::Consumer => SpanKind::Consumer,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Parent {
    None,
    Remote,
    Local,
}

impl Parent {
    fn into_api(self) -> SpanParent {
        match self {
            Self::None => SpanParent::None,
            Self::Remote => SpanParent::Remote,
            Self::Local => SpanParent::Local,
        }
    }
}

/// Reads a sampler without options, `null` or `{}`.
fn nothing<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, expecting = "null or {}")]
    struct Nothing {}
    Option::<Nothing>::deserialize(from).map(drop)
}

/// Reads the version of the schema: any 1.x, because minor versions are backward compatible.
fn file_format<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    let version = String::deserialize(from)?;
    match version.split_once('.') {
        Some(("1", _)) => Ok(()),
        _ => Err(Error::invalid_value(de::Unexpected::Str(&version), &"a file_format of 1.x")),
    }
}

fn ratio<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(from)? {
        Some(ratio) if !(0.0..=1.0).contains(&ratio) => {
            Err(Error::invalid_value(de::Unexpected::Float(ratio), &"a ratio from 0 to 1"))
        }
        ratio => Ok(ratio),
    }
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    match f64::deserialize(from)? {
        rate if rate > 0.0 && rate.is_finite() => Ok(rate),
        rate => Err(Error::invalid_value(de::Unexpected::Float(rate), &"more than 0 traces a second")),
    }
}

/// Reads a list with at least one item, as the schema requires: an empty one would silently match nothing.
fn some_items<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<T>>, D::Error> {
    let items = Vec::deserialize(from)?;
    if items.is_empty() {
        return Err(Error::invalid_length(0, &"at least one item"));
    }
    Ok(Some(items))
}

#[cfg(test)]
mod tests;
