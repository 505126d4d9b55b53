//! The propagator of the `baggage` header.
//!
//! Follows W3C Baggage, "Header Content" and "Limits" (<https://www.w3.org/TR/baggage/#header-content>).

use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::{Context, Key, StringValue};

use super::codec::{self, RawMember};
use super::{MAX_BYTES, MAX_MEMBERS, current, forwarded, members_of, sent_len};
use crate::carrier::HeaderWriter;
use crate::carrier_fields::{CarrierFields, Field};
use crate::extracted::Extracted;
use crate::fields::BAGGAGE;
use crate::inbound::InboundState;

/// Propagates baggage in the W3C format.
///
/// * Values are percent-coded as far as they need it, and `+` is, which some readers take for a space; names are not, as
///   the specification requires. Properties are kept as they are.
/// * Several `baggage` headers are joined. A member that breaks the grammar is skipped, the others are kept. Of members
///   with the same name the last one counts.
/// * At most 64 members and 8192 bytes are read and sent; members beyond are dropped, those that fit are kept. Of more
///   than 64 header lines the first 64 are read.
/// * A received member that was not changed goes out as it came where encoding it again would lose bytes, or members to
///   a limit.
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

    /// Chooses to only send received baggage on: `cx.baggage()` is then empty, and reading costs about a
    /// third. Baggage that is set by hand is sent as well, in place of received members of the same name.
    ///
    /// For services that do not look at baggage. The default is to read it.
    #[must_use]
    pub fn with_forward_only(self, forward_only: bool) -> Self {
        Self { forward_only }
    }

    pub(crate) fn read(self, fields: &CarrierFields<'_, '_>, extracted: &mut Extracted) {
        if !fields.has(Field::Baggage) {
            return;
        }
        if self.forward_only {
            return extracted.put_baggage_text(received_text(fields), false);
        }
        let (mut baggage, mut bytes, mut is_lossy) = (Baggage::new(), 0, false);
        within_limits(fields, |member| {
            bytes += member.text.len();
            let decoded = codec::decode(member.value);
            is_lossy |= decoded.is_lossy;
            let name = Key::from(member.name.to_owned());
            let value = StringValue::from(decoded.value.into_owned());
            let _former = baggage.insert_with_metadata(name, value, member.properties);
        });
        // The received text is kept where encoding the values again would lose bytes, or members to a limit: an octet
        // becomes three at most.
        let grows_too_long = || {
            members_of(&baggage).map(|member| codec::encoded_len(&member) + 1).sum::<usize>() > MAX_BYTES + 1
        };
        if is_lossy || (bytes > MAX_BYTES / 3 && grows_too_long()) {
            extracted.put_baggage_text(received_text(fields), true);
        }
        extracted.put_baggage(baggage);
    }

    #[inline]
    pub(crate) fn write<C: HeaderWriter>(self, cx: &Context, carrier: &mut C) {
        // Most contexts have none.
        let has_received = || cx.get::<InboundState>().is_some_and(|state| state.baggage.is_some());
        if !cx.baggage().is_empty() || has_received() {
            Self::write_members(cx, carrier);
        }
    }

    fn write_members<C: HeaderWriter>(cx: &Context, carrier: &mut C) {
        let mut budget = Budget::new();
        let mut text = String::new();
        for (member, received) in current(cx) {
            if budget.take(sent_len(&member, received)) {
                separate(&mut text);
                match received {
                    Some(received) => text.push_str(received),
                    None => codec::encode(&member, &mut text),
                }
            }
        }
        for member in forwarded(cx).filter(|member| budget.take(member.len())) {
            separate(&mut text);
            text.push_str(member);
        }
        if !text.is_empty() {
            carrier.set(BAGGAGE, &text);
        }
    }
}

/// The remainder of the limits.
struct Budget {
    members: usize,
    bytes: usize,
}

impl Budget {
    fn new() -> Self {
        // The first member has no comma before it.
        Self { members: MAX_MEMBERS, bytes: MAX_BYTES + 1 }
    }

    /// Takes a member of this length if it fits.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.members > 0 && bytes < self.bytes;
        if fits {
            self.members -= 1;
            self.bytes -= bytes + 1;
        }
        fits
    }
}

fn within_limits(fields: &CarrierFields<'_, '_>, mut accept: impl FnMut(RawMember<'_>)) {
    let mut budget = Budget::new();
    for line in fields.lines(Field::Baggage) {
        codec::for_each(line, |member| {
            if budget.take(member.text.len()) {
                accept(member);
            }
        });
    }
}

/// The received members as they came, joined.
fn received_text(fields: &CarrierFields<'_, '_>) -> String {
    let mut text = String::new();
    within_limits(fields, |member| {
        separate(&mut text);
        text.push_str(member.text);
    });
    text
}

fn separate(text: &mut String) {
    if text.is_empty() {
        text.reserve(64);
    } else {
        text.push(',');
    }
}
