//! The rule-based sampler: the first rule that matches a span decides about it.
//!
//! Follows the rule-based sampler of [declarative
//! configuration](https://github.com/open-telemetry/opentelemetry-configuration), with two additional conditions: the
//! names of the service and of the span.

mod attributes;

use opentelemetry::trace::SpanKind;

use self::attributes::{Attributes, Condition};
use super::pattern::{Pairs, Pattern};
use super::{Sampler, Span};

/// The kind of a span's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanParent {
    /// No parent: the span is the root of its trace.
    None,
    /// A parent in another process.
    Remote,
    /// A parent in this process.
    Local,
}

/// A sampler with conditions. It applies to spans that fulfil all conditions; a rule without conditions applies to
/// every span.
///
/// Patterns are exact, or contain `*` for any number of characters and `?` for one; case matters.
#[derive(Clone, Debug)]
pub struct Rule {
    sampler: Sampler,
    service: Option<Pattern>,
    conditions: Conditions,
}

/// The conditions on the span, in the order in which they are evaluated, the cheapest first.
#[derive(Clone, Debug)]
struct Conditions {
    kinds: u8,
    parents: u8,
    name: Option<Name>,
    attributes: Vec<Condition>,
}

/// The condition on the span's name.
#[derive(Clone, Debug)]
struct Name {
    pattern: Pattern,
    pairs: Pairs,
}

/// All bits of a kind or a parent set.
const ANY: u8 = u8::MAX;

impl Rule {
    /// Creates a rule that applies this sampler to every span.
    #[must_use]
    pub fn new(sampler: impl Into<Sampler>) -> Self {
        let conditions = Conditions { kinds: ANY, parents: ANY, name: None, attributes: Vec::new() };
        Self { sampler: sampler.into(), service: None, conditions }
    }

    /// Restricts the rule to services whose name matches this pattern. This is decided when the table is built, and
    /// has no cost per span.
    #[must_use]
    pub fn with_service(mut self, pattern: &str) -> Self {
        self.service = Some(Pattern::new(pattern));
        self
    }

    /// Restricts the rule to spans of these kinds.
    #[must_use]
    pub fn with_kinds(mut self, kinds: impl IntoIterator<Item = SpanKind>) -> Self {
        self.conditions.kinds = kinds.into_iter().fold(0, |bits, kind| bits | kind_bit(&kind));
        self
    }

    /// Restricts the rule to spans with one of these kinds of parents.
    #[must_use]
    pub fn with_parents(mut self, parents: impl IntoIterator<Item = SpanParent>) -> Self {
        self.conditions.parents = parents.into_iter().fold(0, |bits, parent| bits | parent_bit(parent));
        self
    }

    /// Restricts the rule to spans whose name at the start matches this pattern.
    #[must_use]
    pub fn with_span_name(mut self, pattern: &str) -> Self {
        let pattern = Pattern::new(pattern);
        self.conditions.name = Some(Name { pairs: pattern.pairs(), pattern });
        self
    }

    /// Restricts the rule to spans that start with this attribute having exactly one of these values.
    ///
    /// A value that is not a string is compared as text (`404`, `true`); an array matches if one of its items does. A
    /// sampler does not see attributes that are set after the start. The layers of this family of crates pass
    /// attributes to the sampler if the span has no parent or a sampled one; for spans with unsampled parents they
    /// must be configured to do so (`SamplerAttributes::Always`).
    #[must_use]
    pub fn with_attribute<V: AsRef<str>>(mut self, key: &str, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(|value| Pattern::exact(value.as_ref())).collect();
        self.conditions.attributes.push(Condition::new(key, Some(values), Vec::new()));
        self
    }

    /// Restricts the rule to spans that start with this attribute having a value that matches one of the patterns of
    /// `included` (any value if it is empty) and none of `excluded`. See [`with_attribute`](Self::with_attribute).
    #[must_use]
    pub fn with_attribute_patterns(mut self, key: &str, included: &[&str], excluded: &[&str]) -> Self {
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::new(text)).collect::<Vec<_>>();
        let included = Some(patterns(included)).filter(|included| !included.is_empty());
        self.conditions.attributes.push(Condition::new(key, included, patterns(excluded)));
        self
    }
}

/// A table of rules for one service; convert it into a [`Sampler`] with `into()`.
///
/// The first rule that matches a span decides about it, and a span without a matching rule is not sampled: add a last
/// rule without conditions to catch the rest. The table decides about every span; pass it to
/// [`Sampler::parent_based`] to apply it to roots only.
#[derive(Clone, Debug)]
pub struct Rules {
    service: Box<str>,
    table: Table,
}

impl Rules {
    /// Creates an empty table for the service with this name: the `service.name` that the application reports.
    #[must_use]
    pub fn new(service: &str) -> Self {
        Self { service: service.into(), table: Table::default() }
    }

    /// Adds a rule after the existing ones; a rule for other services is skipped.
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
    /// The attribute keys that the rules use, without duplicates.
    keys: Vec<Box<str>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(super) fn find(&self, span: &Span<'_>) -> Option<&Sampler> {
        let kind = kind_bit(span.kind);
        let parent = parent_bit(match span.parent {
            None => SpanParent::None,
            Some(parent) if parent.is_remote() => SpanParent::Remote,
            Some(_) => SpanParent::Local,
        });
        // Both are computed when a rule first needs them, because most tables do not.
        let (mut attributes, mut pairs) = (None, None);
        let mut has_name = |name: &Name| {
            (name.pairs == Pairs::NONE
                || pairs.get_or_insert_with(|| Pairs::new(span.name)).has_all(name.pairs))
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
