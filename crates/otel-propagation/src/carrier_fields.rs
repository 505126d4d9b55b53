//! The headers that a set of formats asks for, picked out of a carrier in one pass.
//!
//! Header names match in any case (RFC 9110, section 5.1); what a repeated header means is left to each format.

use opentelemetry::propagation::Extractor;

use crate::carrier::HeaderReader;
use crate::fields::{self, BAGGAGE, TRACEPARENT, TRACESTATE, is_named, trim};

/// Lines of one header that are read. Trace Context allows 32 list members and Baggage 64, so that a valid header has no
/// more lines.
const MAX_LINES: u8 = 64;

/// The headers that have a place of their own; those of B3 are in the order of [`fields::B3`].
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Field {
    Traceparent,
    Tracestate,
    Baggage,
    B3,
}

const SLOTS: usize = Field::B3 as usize + fields::B3.len();

/// The values of the headers that some formats ask for. It is small and filled in place, for this is the hottest path.
pub(crate) struct CarrierFields<'a, 'f> {
    wanted: WantedFields,
    /// The names of headers that are passed through.
    names: &'f [String],
    /// Counts of each header's lines, at most 255.
    seen: [u8; SLOTS],
    first: [Option<&'a [u8]>; SLOTS],
    /// Further lines of headers that are lists, with their slots, and the values that are passed through, with the index
    /// of their name after the slots.
    more: Vec<(usize, &'a [u8])>,
    /// Count of those that are passed through.
    pass_through_count: u8,
}

/// The headers with a place of their own that are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WantedFields {
    pub(crate) trace_context: bool,
    pub(crate) baggage: bool,
    pub(crate) b3: bool,
}

/// The headers of Trace Context and Baggage, each at most once, which is what most carriers hold. It is cheaper to fill
/// than [`CarrierFields`].
pub(crate) struct SingleFields<'a> {
    pub(crate) traceparent: Option<&'a [u8]>,
    tracestate: Option<&'a [u8]>,
    baggage: Option<&'a [u8]>,
}

impl<'a> SingleFields<'a> {
    /// Reads a carrier in one pass; `None` if one of the headers is repeated.
    #[inline]
    pub(crate) fn read<C: HeaderReader + ?Sized>(carrier: &'a C, baggage: bool) -> Option<Self> {
        let mut fields = Self { traceparent: None, tracestate: None, baggage: None };
        let mut is_repeated = false;
        let wanted = |name: &str| match name.len() {
            11 => is_named(name, TRACEPARENT),
            10 => is_named(name, TRACESTATE),
            7 => baggage && is_named(name, BAGGAGE),
            _ => false,
        };
        carrier.visit_wanted(wanted, |name, value| {
            let field = match name.len() {
                11 if is_named(name, TRACEPARENT) => &mut fields.traceparent,
                10 if is_named(name, TRACESTATE) => &mut fields.tracestate,
                7 if baggage && is_named(name, BAGGAGE) => &mut fields.baggage,
                _ => return,
            };
            is_repeated |= field.replace(value).is_some();
        });
        (!is_repeated).then_some(fields)
    }

    /// Returns true if there is nothing beside a `traceparent`.
    #[inline]
    pub(crate) fn is_lone(&self) -> bool {
        self.tracestate.is_none() && self.baggage.is_none()
    }
}

impl<'a> From<SingleFields<'a>> for CarrierFields<'a, '_> {
    fn from(fields: SingleFields<'a>) -> Self {
        let mut all = Self::new(WantedFields::default(), &[]);
        for (field, value) in [
            (Field::Traceparent, fields.traceparent),
            (Field::Tracestate, fields.tracestate),
            (Field::Baggage, fields.baggage),
        ] {
            all.first[field as usize] = value;
            all.seen[field as usize] = u8::from(value.is_some());
        }
        all
    }
}

impl<'a, 'f> CarrierFields<'a, 'f> {
    /// Makes an empty collection.
    #[inline]
    pub(crate) fn new(wanted: WantedFields, names: &'f [String]) -> Self {
        Self {
            wanted,
            names,
            seen: [0; SLOTS],
            first: [None; SLOTS],
            more: Vec::new(),
            pass_through_count: 0,
        }
    }

    /// Reads a carrier in one pass.
    #[inline]
    pub(crate) fn read_headers<C: HeaderReader + ?Sized>(&mut self, carrier: &'a C) {
        let (wanted, names) = (self.wanted, self.names);
        let is_wanted = |name: &str| {
            (wanted.trace_context && (is_named(name, TRACEPARENT) || is_named(name, TRACESTATE)))
                || (wanted.baggage && is_named(name, BAGGAGE))
                || (wanted.b3 && fields::B3.iter().any(|known| is_named(name, known)))
                || names.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        carrier.visit_wanted(is_wanted, |name, value| self.record_header(name, value));
    }

    /// Asks an [`Extractor`] for each header. It hides values that are not UTF-8.
    pub(crate) fn read_extractor(&mut self, extractor: &'a dyn Extractor) {
        let (WantedFields { trace_context, baggage, b3 }, names) = (self.wanted, self.names);
        let mut ask = |name: &str| {
            let values = extractor.get_all(name).into_iter().flatten();
            values.map(|value| self.record_header(name, value.as_bytes())).count()
        };
        if trace_context && ask(TRACEPARENT) > 0 {
            ask(TRACESTATE);
        }
        if baggage {
            ask(BAGGAGE);
        }
        for name in fields::B3.into_iter().filter(|_| b3) {
            // An extractor that compares case may hold either spelling.
            let lower = name.to_ascii_lowercase();
            if ask(&lower) == 0 && lower != name {
                ask(name);
            }
        }
        for name in names {
            ask(name);
        }
    }

    /// The value of a header without surrounding white space; none if the header is absent or repeated, because
    /// then any of the values may be the right one.
    #[inline]
    pub(crate) fn only(&self, field: Field) -> Option<&'a [u8]> {
        self.only_at(field as usize)
    }

    /// The same for the headers of B3, in the order of [`fields::B3`].
    pub(crate) fn b3(&self) -> [Option<&'a [u8]>; fields::B3.len()] {
        std::array::from_fn(|index| self.only_at(Field::B3 as usize + index))
    }

    #[inline]
    fn only_at(&self, slot: usize) -> Option<&'a [u8]> {
        if self.seen[slot] == 1 { self.first[slot].map(trim) } else { None }
    }

    #[inline]
    pub(crate) fn has(&self, field: Field) -> bool {
        self.seen[field as usize] > 0
    }

    /// Returns true if lines of a header were left out because of their number.
    pub(crate) fn has_too_many(&self, field: Field) -> bool {
        self.seen[field as usize] > MAX_LINES
    }

    /// The lines of a header that is a list, in their order, without surrounding white space and without empty ones.
    pub(crate) fn lines(&self, field: Field) -> impl Iterator<Item = &'a [u8]> + Clone + '_ {
        let more = self.more.iter().filter(move |(of, _)| *of == field as usize).map(|(_, line)| *line);
        self.first[field as usize].into_iter().chain(more).map(trim).filter(|line| !line.is_empty())
    }

    #[inline]
    pub(crate) fn has_pass_through_values(&self) -> bool {
        self.pass_through_count > 0
    }

    /// The values to pass through for the name with this index, without surrounding white space.
    pub(crate) fn pass_through_values(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.more.iter().filter(move |(of, _)| *of == SLOTS + index).map(|(_, value)| trim(value))
    }

    #[inline]
    fn record_header(&mut self, name: &str, value: &'a [u8]) {
        // Lengths differ for almost every header of a request, so most of them cost one comparison.
        let slot = match name.len() {
            11 if self.wanted.trace_context && is_named(name, TRACEPARENT) => Field::Traceparent as usize,
            10 if self.wanted.trace_context && is_named(name, TRACESTATE) => Field::Tracestate as usize,
            7 if self.wanted.baggage && is_named(name, BAGGAGE) => Field::Baggage as usize,
            _ => match self.b3_slot(name) {
                Some(slot) => slot,
                None => return self.record_pass_through(name, value),
            },
        };
        if self.first[slot].is_none() {
            self.first[slot] = Some(value);
        } else if self.seen[slot] < MAX_LINES && matches!(slot, LISTS_FROM..=LISTS_TO) {
            self.more.push((slot, value));
        }
        self.seen[slot] = self.seen[slot].saturating_add(1);
    }

    #[inline]
    fn b3_slot(&self, name: &str) -> Option<usize> {
        if !self.wanted.b3 {
            return None;
        }
        fields::B3.iter().position(|known| is_named(name, known)).map(|index| Field::B3 as usize + index)
    }

    #[inline]
    fn record_pass_through(&mut self, name: &str, value: &'a [u8]) {
        if let Some(index) = self.names.iter().position(|known| known.eq_ignore_ascii_case(name))
            && self.pass_through_count < MAX_LINES
        {
            self.pass_through_count += 1;
            self.more.push((SLOTS + index, value));
        }
    }
}

/// The slots whose lines are joined.
const LISTS_FROM: usize = Field::Tracestate as usize;
const LISTS_TO: usize = Field::Baggage as usize;
