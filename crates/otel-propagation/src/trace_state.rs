//! The `tracestate` header: checked as a whole on the way in, and sent on as it came unless a sampler changed it.
//!
//! Follows W3C Trace Context level 2, section "Tracestate Header".

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::trace::TraceState;

use crate::carrier_fields::{CarrierFields, Field};
use crate::inbound::InboundTrace;

/// The bytes of all `tracestate` lines joined. The specification asks for at least 512 to be propagated.
const MAX_BYTES: usize = 8192;
/// "There can be a maximum of 32 list-members in a list."
const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// Reads the received lines: their text joined in order, and as much of it as the API's type can hold. None where there
/// is no member, or where any rule is broken, for then the whole header is dropped.
#[inline]
pub(crate) fn receive(gathered: &CarrierFields<'_, '_>) -> Option<(Arc<str>, TraceState)> {
    if gathered.has(Field::Tracestate) { receive_some(gathered) } else { None }
}

fn receive_some(gathered: &CarrierFields<'_, '_>) -> Option<(Arc<str>, TraceState)> {
    let lines = gathered.lines(Field::Tracestate);
    let bytes = lines.clone().map(|line| line.len() + 1).sum::<usize>();
    if bytes > MAX_BYTES + 1 || gathered.has_too_many(Field::Tracestate) {
        return None;
    }
    let mut text = String::with_capacity(bytes);
    for line in lines {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(std::str::from_utf8(line).ok()?);
    }

    let mut found = [("", ""); MAX_MEMBERS];
    let mut count = 0;
    for member in members(&text) {
        let (key, value) = member.filter(|(key, value)| is_key(key) && is_value(value))?;
        if count == MAX_MEMBERS || found[..count].iter().any(|(known, _)| *known == key) {
            return None;
        }
        found[count] = (key, value);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let parsed = parsed(&found[..count]);
    Some((text.into(), parsed))
}

/// The text to send: what was received if the state is still what was read from it, else the state as it is now; none
/// where that is empty.
#[inline]
pub(crate) fn outgoing<'a>(state: &TraceState, received: Option<&'a InboundTrace>) -> Option<Cow<'a, str>> {
    if received.is_none() && state.into_iter().len() == 0 { None } else { outgoing_some(state, received) }
}

fn outgoing_some<'a>(state: &TraceState, received: Option<&'a InboundTrace>) -> Option<Cow<'a, str>> {
    if let Some(text) = received.and_then(|trace| trace.tracestate.as_deref())
        && was_read_from(state, text)
    {
        return Some(Cow::Borrowed(text));
    }
    if state.into_iter().len() == 0 {
        return None;
    }
    let text = state.header();
    // The API's type lets a sampler put in values that no header may carry.
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')).then_some(Cow::Owned(text))
}

/// The members that the API's type can hold. Its keys follow level 1 (one `@`, close to the end), ours level 2.
fn parsed(found: &[(&str, &str)]) -> TraceState {
    TraceState::from_key_value(found.iter().copied()).unwrap_or_else(|_| {
        let fitting = found.iter().copied().filter(|member| fits(*member));
        TraceState::from_key_value(fitting).unwrap_or_default()
    })
}

fn fits(member: (&str, &str)) -> bool {
    TraceState::from_key_value([member]).is_ok()
}

/// Whether reading `text` gives `state`, told without allocating where it does.
fn was_read_from(state: &TraceState, text: &str) -> bool {
    let mut now = state.into_iter();
    let mut next = now.next();
    for member in members(text).flatten() {
        if next == Some(member) {
            next = now.next();
        } else if fits(member) {
            return false;
        }
    }
    next.is_none()
}

/// The members that are not empty; none in place of one without `=`.
fn members(text: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    text.split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
        .map(|member| member.split_once('='))
}

fn is_key(key: &str) -> bool {
    let key = key.as_bytes();
    matches!(key.first(), Some(b'a'..=b'z' | b'0'..=b'9'))
        && key.len() <= MAX_KEY
        && key.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
}

/// A space at the end was cut off before, as optional white space.
fn is_value(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= MAX_VALUE
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=' && byte != b',')
}
