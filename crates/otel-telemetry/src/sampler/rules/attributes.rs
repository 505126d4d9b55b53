//! The attributes' conditions of a table, and how a span's attributes are found without a search for each rule.

use opentelemetry::{Array, KeyValue, Value};

use super::super::pattern::Pattern;

/// So many keys of a table are looked up once for a span, and not once for each rule that asks for them.
const REMEMBERED: usize = 8;
/// So few keys are sooner looked up than excluded.
const FEW: usize = 2;

/// One attribute's condition.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    key: Box<str>,
    /// The key's bit among those that are present.
    bit: u64,
    /// Where the key's value is remembered; not at all from [`REMEMBERED`] on.
    slot: usize,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    /// One pattern: the most common condition, found without a list.
    One(Pattern),
    /// One of `included`, or any value at all where there is none, but none of `excluded`.
    Lists { included: Option<Vec<Pattern>>, excluded: Vec<Pattern> },
}

impl Condition {
    pub(super) fn new(key: &str, included: Option<Vec<Pattern>>, excluded: Vec<Pattern>) -> Self {
        let values = match (included, &*excluded) {
            (Some(mut included), []) if included.len() == 1 => Values::One(included.remove(0)),
            (included, _) => Values::Lists { included, excluded },
        };
        Self { key: key.into(), bit: bit(key), slot: usize::MAX, values }
    }

    /// Gives the key its place among those of the table.
    pub(super) fn assign(&mut self, keys: &mut Vec<Box<str>>) {
        self.slot = keys.iter().position(|key| *key == self.key).unwrap_or_else(|| {
            keys.push(self.key.clone());
            keys.len() - 1
        });
    }

    #[inline]
    fn accepts(&self, found: Found<'_>) -> bool {
        match found {
            Found::Absent => false,
            Found::Text(text) => self.accepts_text(text),
            Found::Number(number) => self.accepts_number(number),
            Found::Other(value) => self.accepts_value(value),
        }
    }

    #[inline(never)]
    fn accepts_value(&self, value: &Value) -> bool {
        match value {
            Value::Array(Array::String(items)) => items.iter().any(|item| self.accepts_text(item.as_str())),
            Value::Array(Array::Bool(items)) => items.iter().any(|item| self.accepts_text(bool_text(*item))),
            Value::Array(Array::I64(items)) => items.iter().any(|item| self.accepts_number(*item)),
            Value::Array(Array::F64(items)) => items.iter().any(|item| self.accepts_text(&item.to_string())),
            other => self.accepts_text(&other.as_str()),
        }
    }

    #[inline]
    fn accepts_text(&self, text: &str) -> bool {
        self.any(|pattern| pattern.matches(text))
    }

    #[inline]
    fn accepts_number(&self, number: i64) -> bool {
        self.any(|pattern| pattern.matches_number(number))
    }

    #[inline]
    fn any(&self, matches: impl Fn(&Pattern) -> bool) -> bool {
        match &self.values {
            Values::One(pattern) => matches(pattern),
            Values::Lists { included, excluded } => {
                included.as_ref().is_none_or(|included| included.iter().any(&matches))
                    && !excluded.iter().any(matches)
            }
        }
    }
}

/// What a span has for a key.
#[derive(Clone, Copy)]
enum Found<'a> {
    Absent,
    Text(&'a str),
    Number(i64),
    /// What has no text of its own: floating-point numbers and arrays.
    Other(&'a Value),
}

/// A span's attributes, while a table is searched.
pub(super) struct Attributes<'a> {
    all: &'a [KeyValue],
    /// One bit for each key that is there, and for some that are not: most keys that are not are known by it.
    present: u64,
    /// What was found for the first keys of the table that were looked up.
    remembered: [Option<Found<'a>>; REMEMBERED],
}

impl<'a> Attributes<'a> {
    pub(super) fn new(all: &'a [KeyValue], keys: usize) -> Self {
        if keys <= FEW {
            return Self { all, present: u64::MAX, remembered: [None; REMEMBERED] };
        }
        let present = all.iter().fold(0, |bits, found| bits | bit(found.key.as_str()));
        Self { all, present, remembered: [None; REMEMBERED] }
    }

    #[inline]
    pub(super) fn match_all(&mut self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| {
            self.present & condition.bit != 0 && condition.accepts(self.get(condition.slot, &condition.key))
        })
    }

    #[inline]
    fn get(&mut self, slot: usize, key: &str) -> Found<'a> {
        match self.remembered.get_mut(slot) {
            Some(remembered) => *remembered.get_or_insert_with(|| find(self.all, key)),
            None => find(self.all, key),
        }
    }
}

#[inline(never)]
fn find<'a>(all: &'a [KeyValue], key: &str) -> Found<'a> {
    match all.iter().find(|found| found.key.as_str() == key).map(|found| &found.value) {
        None => Found::Absent,
        Some(Value::String(text)) => Found::Text(text.as_str()),
        Some(Value::Bool(value)) => Found::Text(bool_text(*value)),
        Some(Value::I64(number)) => Found::Number(*number),
        Some(other) => Found::Other(other),
    }
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// One of 64 bits for a key: its length and last letter tell most keys apart that share a namespace.
fn bit(key: &str) -> u64 {
    let last = key.as_bytes().last().map_or(0, |last| usize::from(*last));
    1 << ((key.len().wrapping_mul(5) ^ last) & 63)
}
