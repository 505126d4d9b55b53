//! The propagator of the `baggage` header.
//!
//! Follows W3C Baggage, sections "Baggage HTTP Header Format" and "Limits".

use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::{Context, Key, StringValue};

use super::codec::{self, RawMember};
use super::{MAX_BYTES, MAX_MEMBERS, existing};
use crate::carrier::HeaderWriter;
use crate::carrier_fields::{CarrierFields, Field};
use crate::extracted::Extracted;
use crate::fields::BAGGAGE;
use crate::inbound::InboundState;

/// Propagates baggage in the W3C format.
///
/// * Values are percent-coded; names are not, as the specification says. Properties are kept as they are.
/// * Several `baggage` headers are joined. A member that breaks the grammar is skipped, the others are kept. Of members
///   with the same name the last one counts.
/// * At most 64 members and 8192 bytes are read and sent; members beyond are dropped, those that fit are kept. Of more
///   than 64 header lines the first 64 are read.
/// * Properties set by hand that no header may carry are not sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct BaggagePropagator {
    forward_only: bool,
}

impl BaggagePropagator {
    /// Reads baggage into the API's type: `cx.baggage()`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether received baggage is only sent on, and not read: `cx.baggage()` is then empty, and reading costs about a
    /// third. Baggage that is set by hand is sent as well, in place of received members of the same name.
    ///
    /// For services that do not look at baggage. The default is to read it.
    #[must_use]
    pub fn with_forward_only(self, forward_only: bool) -> Self {
        Self { forward_only }
    }

    pub(crate) fn read(self, gathered: &CarrierFields<'_, '_>, found: &mut Extracted) {
        if !gathered.has(Field::Baggage) {
            return;
        }
        if self.forward_only {
            let mut text = String::new();
            within_limits(gathered, |member| push(&mut text, member.text));
            return found.put_baggage_text(text);
        }
        let mut baggage = Baggage::new();
        within_limits(gathered, |member| {
            let name = Key::from(member.name.to_owned());
            let value = StringValue::from(codec::decode(member.value));
            let _former = baggage.insert_with_metadata(name, value, member.properties);
        });
        found.put_baggage(baggage);
    }

    pub(crate) fn write<C: HeaderWriter>(self, cx: &Context, carrier: &mut C) {
        let baggage = cx.baggage();
        let forwarded = cx.get::<InboundState>().and_then(|received| received.baggage.as_deref());
        if baggage.is_empty() && forwarded.is_none() {
            return carrier.remove(BAGGAGE);
        }
        let mut budget = Budget::new();
        let mut text = String::with_capacity(64);
        for member in existing(cx).filter(|member| budget.take(codec::encoded_len(member))) {
            if !text.is_empty() {
                text.push(',');
            }
            codec::encode(&member, &mut text);
        }
        for member in forwarded.into_iter().flat_map(codec::members) {
            if baggage.get(member.name).is_none() && budget.take(member.text.len()) {
                push(&mut text, member.text);
            }
        }
        if text.is_empty() { carrier.remove(BAGGAGE) } else { carrier.set(BAGGAGE, &text) }
    }
}

/// What is left of the limits.
struct Budget {
    members: usize,
    bytes: usize,
}

impl Budget {
    fn new() -> Self {
        // The first member has no comma before it.
        Self { members: MAX_MEMBERS, bytes: MAX_BYTES + 1 }
    }

    /// Whether a member of this length fits; it is taken if so.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.members > 0 && bytes < self.bytes;
        if fits {
            self.members -= 1;
            self.bytes -= bytes + 1;
        }
        fits
    }
}

fn within_limits(gathered: &CarrierFields<'_, '_>, mut found: impl FnMut(RawMember<'_>)) {
    let mut budget = Budget::new();
    for line in gathered.lines(Field::Baggage) {
        codec::for_each(line, |member| {
            if budget.take(member.text.len()) {
                found(member);
            }
        });
    }
}

fn push(text: &mut String, member: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(member);
}
