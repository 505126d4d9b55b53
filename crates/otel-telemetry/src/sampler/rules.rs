//! A table of rules, of which the first that matches a span decides about it.
//!
//! Follows the rule-based sampler of
//! [declarative configuration](https://github.com/open-telemetry/opentelemetry-configuration), with two conditions of
//! our own: the service's name and the span's.

mod attributes;

use opentelemetry::trace::SpanKind;

use self::attributes::{Attributes, Condition};
use super::pattern::{Pairs, Pattern};
use super::{Sampler, Span};

/// Whether a span has a parent, and where that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanParent {
    /// The span is the root of its trace.
    None,
    /// The parent is in another process.
    Remote,
    /// The parent is in this process.
    Local,
}

/// A sampler, and the spans that it is for: those that fulfil all of the conditions. A rule without conditions is for
/// every span.
///
/// Patterns are exact, or have `*` for any number of characters and `?` for one; case matters.
#[derive(Clone, Debug)]
pub struct Rule {
    sampler: Sampler,
    service: Option<Pattern>,
    conditions: Conditions,
}

/// The conditions that depend on the span; in the order in which they are tried, the cheapest first.
#[derive(Clone, Debug)]
struct Conditions {
    kinds: u8,
    parents: u8,
    name: Option<Name>,
    attributes: Vec<Condition>,
}

/// The condition on the name.
#[derive(Clone, Debug)]
struct Name {
    pattern: Pattern,
    pairs: Pairs,
}

/// Every bit that a kind or a parent can have.
const ANY: u8 = u8::MAX;

impl Rule {
    /// This sampler, for every span.
    #[must_use]
    pub fn new(sampler: impl Into<Sampler>) -> Self {
        let conditions = Conditions { kinds: ANY, parents: ANY, name: None, attributes: Vec::new() };
        Self { sampler: sampler.into(), service: None, conditions }
    }

    /// Only in services whose name matches this pattern. This is decided when the table is built, and costs nothing
    /// later.
    #[must_use]
    pub fn with_service(mut self, pattern: &str) -> Self {
        self.service = Some(Pattern::new(pattern));
        self
    }

    /// Only for spans of one of these kinds.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = SpanKind>) -> Self {
        self.conditions.kinds = kinds.into_iter().fold(0, |bits, kind| bits | kind_bit(&kind));
        self
    }

    /// Only for spans with one of these parents.
    #[must_use]
    pub fn with_parents(mut self, parents: impl IntoIterator<Item = SpanParent>) -> Self {
        self.conditions.parents = parents.into_iter().fold(0, |bits, parent| bits | parent_bit(parent));
        self
    }

    /// Only for spans whose name, as it is when they start, matches this pattern.
    #[must_use]
    pub fn with_span_name(mut self, pattern: &str) -> Self {
        let pattern = Pattern::new(pattern);
        self.conditions.name = Some(Name { pairs: pattern.pairs(), pattern });
        self
    }

    /// Only for spans that start with this attribute having one of these values, exactly.
    ///
    /// A value that is no string is compared by its text (`404`, `true`); an array matches if one of its items does.
    /// Attributes that are set after the start are not seen by a sampler. The layers of this family of crates give
    /// attributes to the sampler where there is no parent or a sampled one; for spans under unsampled parents they
    /// must be told to (`SamplerAttributes::Always`).
    #[must_use]
    pub fn with_attribute<V: AsRef<str>>(mut self, key: &str, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(|value| Pattern::exact(value.as_ref())).collect();
        self.conditions.attributes.push(Condition::new(key, Some(values), Vec::new()));
        self
    }

    /// Only for spans that start with this attribute having a value that matches one of the patterns of `included` (or
    /// any value, if that is empty) and none of `excluded`. See [`with_attribute`](Self::with_attribute).
    #[must_use]
    pub fn with_attribute_patterns(mut self, key: &str, included: &[&str], excluded: &[&str]) -> Self {
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::new(text)).collect::<Vec<_>>();
        let included = Some(patterns(included)).filter(|included| !included.is_empty());
        self.conditions.attributes.push(Condition::new(key, included, patterns(excluded)));
        self
    }
}

/// A table of rules for one service; turn it into a [`Sampler`] with `into()`.
///
/// The first rule that matches a span decides about it, and a span that none matches is not sampled: end with a rule
/// without conditions to catch the rest. The table is asked about every span; give it to
/// [`Sampler::parent_based`] to have it asked about roots alone.
#[derive(Clone, Debug)]
pub struct Rules {
    service: Box<str>,
    table: Table,
}

impl Rules {
    /// An empty table for the service of this name: the `service.name` that the application reports.
    #[must_use]
    pub fn new(service: &str) -> Self {
        Self { service: service.into(), table: Table::default() }
    }

    /// Adds a rule after those that are there; one for other services is left out.
    #[must_use]
    pub fn with_rule(mut self, mut rule: Rule) -> Self {
        if rule.service.is_none_or(|pattern| pattern.matches(&self.service)) {
            let Table { rules, keys } = &mut self.table;
            rule.conditions.attributes.iter_mut().for_each(|condition| condition.assign(keys));
            rules.push((rule.conditions, rule.sampler));
        }
        self
    }

    pub(super) fn into_table(self) -> Table {
        self.table
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rules: Vec<(Conditions, Sampler)>,
    /// The attributes that the rules ask for, each once.
    keys: Vec<Box<str>>,
}

impl Table {
    pub(super) fn find(&self, span: &Span<'_>) -> Option<&Sampler> {
        let kind = kind_bit(span.kind);
        let parent = parent_bit(match span.parent {
            None => SpanParent::None,
            Some(parent) if parent.is_remote() => SpanParent::Remote,
            Some(_) => SpanParent::Local,
        });
        // Both are made when a rule first asks for them: most tables do not.
        let (mut attributes, mut pairs) = (None, None);
        let mut has_name = |name: &Name| {
            (name.pairs == Pairs::NONE
                || pairs.get_or_insert_with(|| Pairs::of(span.name)).has_all(name.pairs))
                && name.pattern.matches(span.name)
        };
        let mut matches = |conditions: &Conditions| {
            conditions.kinds & kind != 0
                && conditions.parents & parent != 0
                && conditions.name.as_ref().is_none_or(&mut has_name)
                && (conditions.attributes.is_empty()
                    || attributes
                        .get_or_insert_with(|| Attributes::new(span.attributes, self.keys.len()))
                        .match_all(&conditions.attributes))
        };
        self.rules.iter().find(|(conditions, _)| matches(conditions)).map(|(_, sampler)| sampler)
    }
}

fn kind_bit(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 4,
        SpanKind::Producer => 8,
        SpanKind::Consumer => 16,
    }
}

fn parent_bit(parent: SpanParent) -> u8 {
    match parent {
        SpanParent::None => 1,
        SpanParent::Remote => 2,
        SpanParent::Local => 4,
    }
}
