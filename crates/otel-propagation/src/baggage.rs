//! W3C Baggage: the propagator, and setting members by hand.
//!
//! Follows W3C Baggage (<https://www.w3.org/TR/baggage/>) and the OpenTelemetry specification, Baggage API
//! (<https://opentelemetry.io/docs/specs/otel/baggage/api/>).

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt as _, BaggageMetadata};
use opentelemetry::{Key, StringValue};

use crate::fields::is_token;
use crate::inbound::InboundState;

mod codec;
pub(crate) mod propagator;

use codec::Member;

/// "The resulting baggage-string contains 64 list-members or less."
pub(crate) const MAX_MEMBERS: usize = 64;
/// "The resulting baggage-string would be 8192 bytes or less", as it is sent, percent-encoded and with commas.
pub(crate) const MAX_BYTES: usize = 8192;

/// Why members could not be set. The context that was given stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BaggageError {
    /// The name is not a token of RFC 9110, as W3C Baggage requires.
    #[error("baggage member {name:?} not set: the name is no token (RFC 9110, section 5.6.2)")]
    #[non_exhaustive]
    Name {
        /// The name.
        name: String,
    },
    /// There would be more members than may be sent.
    #[error("baggage member {name:?} not set: more than {limit} members")]
    #[non_exhaustive]
    Members {
        /// The name of the first member beyond the limit.
        name: String,
        /// The limit, in members.
        limit: usize,
    },
    /// The baggage would be longer than may be sent.
    #[error("baggage member {name:?} not set: the header would have {bytes} bytes, more than {limit}")]
    #[non_exhaustive]
    Bytes {
        /// The name of the first member beyond the limit.
        name: String,
        /// The length up to and with that member, in bytes of the header.
        bytes: usize,
        /// The limit, in bytes of the header.
        limit: usize,
    },
}

impl BaggageError {
    /// The name of the member that could not be set.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name { name } | Self::Members { name, .. } | Self::Bytes { name, .. } => name,
        }
    }
}

/// The value of a member of the context's baggage.
#[must_use]
pub fn get<'cx>(cx: &'cx Context, name: &str) -> Option<&'cx str> {
    cx.baggage().get(name).map(StringValue::as_str)
}

/// A context with one member set, in place of a former one of that name.
///
/// # Errors
///
/// The name is not a token, or the baggage would have more than 64 members or 8192 bytes. The API's own
/// `Baggage::insert` ignores all of these silently.
pub fn set(cx: &Context, name: &str, value: &str) -> Result<Context, BaggageError> {
    set_all(cx, [(name, value)])
}

/// A context with several members set, in place of former ones of those names: all of them, or none.
///
/// # Errors
///
/// As for [`set`], for the first member that cannot be set.
pub fn set_all<'m>(
    cx: &Context,
    members: impl IntoIterator<Item = (&'m str, &'m str)>,
) -> Result<Context, BaggageError> {
    let sent = |(member, received)| (member, sent_len(&member, received));
    let mut all: Vec<(Member<'_>, usize)> = current(cx).map(sent).collect();
    for (name, value) in members {
        if !is_token(name.as_bytes()) {
            return Err(BaggageError::Name { name: name.to_owned() });
        }
        // New members come last, so that an error names them, and not a member that the context had.
        all.retain(|(member, _)| member.name != name);
        all.push(sent((Member { name, value, properties: "" }, None)));
    }
    let mut bytes = 0;
    for (index, (member, length)) in all.iter().enumerate() {
        if index == MAX_MEMBERS {
            return Err(BaggageError::Members { name: member.name.to_owned(), limit: MAX_MEMBERS });
        }
        bytes += length + usize::from(index > 0);
        if bytes > MAX_BYTES {
            return Err(BaggageError::Bytes { name: member.name.to_owned(), bytes, limit: MAX_BYTES });
        }
    }
    Ok(cx.with_baggage(collect(all.into_iter().map(|(member, _)| member))))
}

/// A context without one member. Baggage that is only forwarded is not touched; see [`clear`].
#[must_use]
pub fn remove(cx: &Context, name: &str) -> Context {
    if cx.baggage().get(name).is_none() {
        return cx.clone();
    }
    cx.with_baggage(collect(members_of(cx.baggage()).filter(|member| member.name != name)))
}

/// A context without baggage, neither its own nor such as is only forwarded: for callers that are not trusted, and calls
/// to services that are not.
#[must_use]
pub fn clear(cx: &Context) -> Context {
    let cx = match cx.get::<InboundState>() {
        Some(state) if state.baggage.is_some() => {
            cx.with_value(InboundState { baggage: None, ..state.clone() })
        }
        _ => cx.clone(),
    };
    if cx.baggage().is_empty() { cx } else { cx.with_cleared_baggage() }
}

fn members_of(baggage: &Baggage) -> impl Iterator<Item = Member<'_>> {
    baggage.iter().map(|(name, (value, properties))| Member {
        name: name.as_str(),
        value: value.as_str(),
        properties: properties.as_str(),
    })
}

/// The members of the context's baggage, each with its received text if that was kept and the member was not changed.
fn current(cx: &Context) -> impl Iterator<Item = (Member<'_>, Option<&str>)> {
    let inbound = cx.get::<InboundState>().and_then(|state| state.baggage.as_ref());
    let kept = inbound.filter(|inbound| inbound.is_parsed);
    members_of(cx.baggage()).map(move |member| {
        let received = kept.and_then(|inbound| {
            // Of members with the same name the last one counts.
            let received =
                codec::members(&inbound.text).filter(|received| received.name == member.name).last();
            received.filter(|received| {
                codec::decode(received.value).value == member.value
                    && received.properties == member.properties
            })
        });
        (member, received.map(|received| received.text))
    })
}

/// The members that are only forwarded, but for those that the context's baggage has as well.
fn forwarded(cx: &Context) -> impl Iterator<Item = &str> {
    let baggage = cx.baggage();
    let inbound = cx.get::<InboundState>().and_then(|state| state.baggage.as_ref());
    let text = inbound.filter(|inbound| !inbound.is_parsed).map(|inbound| &*inbound.text);
    let members = text.into_iter().flat_map(codec::members);
    members.filter(|member| baggage.get(member.name).is_none()).map(|member| member.text)
}

/// The length of a member in the header, in bytes.
fn sent_len(member: &Member<'_>, received: Option<&str>) -> usize {
    received.map_or_else(|| codec::encoded_len(member), str::len)
}

/// Builds new baggage, because the API's type keeps counting the bytes of members that were removed.
fn collect<'a>(members: impl IntoIterator<Item = Member<'a>>) -> Baggage {
    members
        .into_iter()
        .map(|member| {
            let properties = BaggageMetadata::from(member.properties);
            (Key::from(member.name.to_owned()), (StringValue::from(member.value.to_owned()), properties))
        })
        .collect()
}
