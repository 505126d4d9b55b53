//! Patterns for names and values: exact, or with `*` and `?`.
//!
//! Follows the wildcards of [declarative
//! configuration](https://github.com/open-telemetry/opentelemetry-configuration): `?` matches one character, `*`
//! matches any number of characters, including none; case matters, and wildcards cannot be escaped.

/// A pattern. It is parsed once, because it is matched against every span.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// A text without wildcards.
    Exact(Exact),
    /// A pattern with `?` and without `*`.
    Whole(Segment),
    /// A pattern with `*`: the parts before the first, between, and after the last.
    Starred { head: Segment, middle: Box<[Segment]>, tail: Segment },
}

/// A text without wildcards.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    text: Box<str>,
    /// The number with exactly this text, so that numeric values are compared without formatting.
    number: Option<i64>,
}

/// A part of a pattern, without `*`.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// Empty.
    Empty,
    /// Without `?`.
    Literal(Box<str>),
    /// With `?`.
    Wild(Box<str>),
}

impl Exact {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Pattern {
    /// Creates a pattern that matches only this text, including any wildcards in it.
    pub(super) fn exact(text: &str) -> Self {
        let number = text.parse().ok().filter(|number: &i64| number.to_string() == text);
        Self::Exact(Exact { text: text.into(), number })
    }

    pub(super) fn new(text: &str) -> Self {
        match (text.split_once('*'), text.rsplit_once('*')) {
            (Some((head, _)), Some((before, tail))) => {
                let between = before.get(head.len() + 1..).unwrap_or_default();
                let middle = between.split('*').filter(|part| !part.is_empty()).map(Segment::new);
                Self::Starred { head: Segment::new(head), middle: middle.collect(), tail: Segment::new(tail) }
            }
            _ if text.contains('?') => Self::Whole(Segment::new(text)),
            _ => Self::exact(text),
        }
    }

    #[inline]
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => same(exact.text.as_bytes(), text.as_bytes()),
            _ => self.matches_wild(text.as_bytes()),
        }
    }

    /// Returns the pairs of bytes that a matching text must contain; none for an exact pattern, whose comparison is
    /// as fast.
    pub(super) fn pairs(&self) -> Pairs {
        match self {
            Self::Exact(_) => Pairs::NONE,
            Self::Whole(segment) => segment.pairs(),
            Self::Starred { head, middle, tail } => middle
                .iter()
                .chain([head, tail])
                .fold(Pairs::NONE, |pairs, segment| Pairs(pairs.0 | segment.pairs().0)),
        }
    }

    fn matches_wild(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(_) => false,
            Self::Whole(segment) => segment.strip_start(text) == Some(b""),
            Self::Starred { head, middle, tail } => head
                .strip_start(text)
                .and_then(|rest| tail.strip_end(rest))
                // The first match of each part leaves the longest rest for the next ones, so that no backtracking is
                // needed.
                .and_then(|rest| middle.iter().try_fold(rest, |rest, part| part.find(rest)))
                .is_some(),
        }
    }

    /// Returns true if the text of the number matches.
    #[inline]
    pub(super) fn matches_number(&self, number: i64) -> bool {
        match self {
            Self::Exact(exact) => exact.number == Some(number),
            _ => self.matches_wild(number.to_string().as_bytes()),
        }
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        match text {
            "" => Self::Empty,
            _ if text.contains('?') => Self::Wild(text.into()),
            _ => Self::Literal(text.into()),
        }
    }

    fn pairs(&self) -> Pairs {
        match self {
            Self::Empty => Pairs::NONE,
            Self::Literal(text) => Pairs::new(text),
            Self::Wild(text) => Pairs(text.split('?').fold(0, |bits, part| bits | Pairs::new(part).0)),
        }
    }

    /// Returns the rest of a text that starts with the segment.
    fn strip_start<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Empty => Some(text),
            Self::Literal(literal) => {
                let (start, rest) = text.split_at_checked(literal.len())?;
                same(literal.as_bytes(), start).then_some(rest)
            }
            Self::Wild(wild) => wild.bytes().try_fold(text, |text, wanted| {
                let (first, rest) = text.split_first()?;
                match wanted {
                    b'?' => Some(&rest[rest.iter().take_while(|byte| continues(**byte)).count()..]),
                    _ => (*first == wanted).then_some(rest),
                }
            }),
        }
    }

    /// Returns the rest of a text that ends with the segment.
    fn strip_end<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Empty => Some(text),
            Self::Literal(literal) => {
                let (rest, end) = text.split_at(text.len().checked_sub(literal.len())?);
                same(literal.as_bytes(), end).then_some(rest)
            }
            Self::Wild(wild) => wild.bytes().rev().try_fold(text, |text, wanted| {
                let (last, rest) = text.split_last()?;
                match wanted {
                    b'?' => text.iter().rposition(|byte| !continues(*byte)).map(|start| &text[..start]),
                    _ => (*last == wanted).then_some(rest),
                }
            }),
        }
    }

    /// Returns the rest of a text after the first match of the segment.
    fn find<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Empty => Some(text),
            Self::Literal(literal) => {
                let literal = literal.as_bytes();
                let at = text.windows(literal.len()).position(|window| same(literal, window))?;
                Some(&text[at + literal.len()..])
            }
            Self::Wild(_) => (0..text.len())
                .filter(|at| !continues(text[*at]))
                .find_map(|at| self.strip_start(&text[at..])),
        }
    }
}

/// A Bloom filter of the adjacent pairs of bytes in a text: most patterns that do not match contain a pair that is
/// absent from the text, and are rejected without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pairs(u64);

impl Pairs {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let pairs = bytes.iter().zip(bytes.iter().skip(1));
        Self(pairs.fold(0, |bits, (one, next)| bits | 1 << ((one.wrapping_mul(7) ^ next) & 63)))
    }

    pub(super) fn has_all(self, wanted: Self) -> bool {
        wanted.0 & !self.0 == 0
    }
}

/// Compares two texts. Most names that a table compares differ in their last byte, so that checking it first avoids a
/// call. The empty case is separate, because comparing empty slices can be slow (a masked load from a dangling
/// pointer).
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    match (one.last(), other.last()) {
        (Some(last), Some(found)) => last == found && one == other,
        (None, None) => true,
        _ => false,
    }
}

/// Returns true for a continuation byte of UTF-8.
fn continues(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests;
