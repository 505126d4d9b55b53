//! The attribute conditions of a table, and a cache of a span's attributes that avoids a search for each rule.

use opentelemetry::{Array, KeyValue, Value};

use super::super::pattern::Pattern;

/// Number of keys of a table that are looked up once for a span instead of once for each rule.
const REMEMBERED: usize = 8;
/// Number of keys up to which looking them up is cheaper than excluding them first.
const FEW: usize = 2;

/// The condition on one attribute.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    key: Box<str>,
    /// The bit of the key in [`Attributes::present`].
    bit: u64,
    /// The index of the key's cached value; not cached from [`REMEMBERED`] on.
    slot: usize,
    print: Print,
    values: Values,
}

/// A fingerprint of a text: its length and its last byte, in which most unequal texts differ. It is compared first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print(u64);

impl Print {
    /// The fingerprint of a value or pattern that has none; it may equal any other.
    const ANY: Self = Self(u64::MAX);

    fn from_text(text: &str) -> Self {
        Self((text.len() as u64) << 8 | text.as_bytes().last().map_or(0, |last| u64::from(*last)))
    }

    /// Returns the fingerprint of the number's text.
    fn from_number(number: i64) -> Self {
        let size = number.unsigned_abs();
        let digits = u64::from(size.checked_ilog10().unwrap_or(0)) + 1 + u64::from(number < 0);
        Self(digits << 8 | (u64::from(b'0') + size % 10))
    }

    #[inline]
    fn may_be(self, other: Self) -> bool {
        self == other || self == Self::ANY || other == Self::ANY
    }
}

#[derive(Clone, Debug)]
enum Values {
    /// One pattern: the most common condition, evaluated without a list.
    One(Pattern),
    /// A value that matches one of `included` (any value if it is `None`) and none of `excluded`.
    Lists { included: Option<Vec<Pattern>>, excluded: Vec<Pattern> },
}

impl Condition {
    pub(super) fn new(key: &str, included: Option<Vec<Pattern>>, excluded: Vec<Pattern>) -> Self {
        let values = match (included, &*excluded) {
            (Some(mut included), []) if included.len() == 1 => Values::One(included.remove(0)),
            (included, _) => Values::Lists { included, excluded },
        };
        let print = match &values {
            Values::One(Pattern::Exact(exact)) => Print::from_text(exact.text()),
            _ => Print::ANY,
        };
        Self { key: key.into(), bit: bit(key), slot: usize::MAX, print, values }
    }

    /// Assigns the index of the key among the keys of the table.
    pub(super) fn assign(&mut self, keys: &mut Vec<Box<str>>) {
        self.slot = keys.iter().position(|key| *key == self.key).unwrap_or_else(|| {
            keys.push(self.key.clone());
            keys.len() - 1
        });
    }

    #[inline]
    fn accepts(&self, found: &Found<'_>) -> bool {
        self.print.may_be(found.print) && self.accepts_found(found)
    }

    #[inline(never)]
    fn accepts_found(&self, found: &Found<'_>) -> bool {
        match found.value {
            FoundValue::Absent => false,
            FoundValue::Text(text) => self.accepts_text(text),
            FoundValue::Number(number) => self.accepts_number(number),
            FoundValue::Other(value) => self.accepts_value(value),
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

/// The value that a span has for a key.
#[derive(Clone, Copy)]
struct Found<'a> {
    print: Print,
    value: FoundValue<'a>,
}

#[derive(Clone, Copy)]
enum FoundValue<'a> {
    Absent,
    Text(&'a str),
    Number(i64),
    /// A value without a text: a floating-point number or an array.
    Other(&'a Value),
}

/// A span's attributes during one search of a table.
pub(super) struct Attributes<'a> {
    all: &'a [KeyValue],
    /// A Bloom filter of the keys that are present, by which most absent keys are excluded.
    present: u64,
    /// The cached values of the first keys of the table.
    remembered: [Option<Found<'a>>; REMEMBERED],
    /// The value of the last key that was looked up and is not cached.
    last: Option<Found<'a>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(all: &'a [KeyValue], keys: usize) -> Self {
        let present = match keys {
            ..=FEW => u64::MAX,
            _ => all.iter().fold(0, |bits, found| bits | bit(found.key.as_str())),
        };
        Self { all, present, remembered: [None; REMEMBERED], last: None }
    }

    #[inline]
    pub(super) fn match_all(&mut self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| {
            self.present & condition.bit != 0 && condition.accepts(self.get(condition.slot, &condition.key))
        })
    }

    #[inline]
    fn get(&mut self, slot: usize, key: &str) -> &Found<'a> {
        match self.remembered.get_mut(slot) {
            Some(remembered) => remembered.get_or_insert_with(|| find(self.all, key)),
            None => self.last.insert(find(self.all, key)),
        }
    }
}

#[inline(never)]
fn find<'a>(all: &'a [KeyValue], key: &str) -> Found<'a> {
    let text = |text| Found { print: Print::from_text(text), value: FoundValue::Text(text) };
    match all.iter().find(|found| found.key.as_str() == key).map(|found| &found.value) {
        None => Found { print: Print::ANY, value: FoundValue::Absent },
        Some(Value::String(found)) => text(found.as_str()),
        Some(Value::Bool(value)) => text(bool_text(*value)),
        Some(Value::I64(number)) => {
            Found { print: Print::from_number(*number), value: FoundValue::Number(*number) }
        }
        Some(other) => Found { print: Print::ANY, value: FoundValue::Other(other) },
    }
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Returns one of 64 bits for a key, from its length and last byte, which differ for most keys of a namespace.
fn bit(key: &str) -> u64 {
    let last = key.as_bytes().last().map_or(0, |last| usize::from(*last));
    1 << ((key.len().wrapping_mul(5) ^ last) & 63)
}

#[cfg(test)]
mod tests {
    use super::Print;

    #[test]
    fn a_number_has_the_print_of_its_text() {
        for number in [0, 7, -7, 10, -10, 443, 1_000_000, i64::MAX, i64::MIN] {
            assert_eq!(Print::from_number(number), Print::from_text(&number.to_string()), "{number}");
        }
        assert_ne!(Print::from_text("/users"), Print::from_text("/orders"));
    }
}
