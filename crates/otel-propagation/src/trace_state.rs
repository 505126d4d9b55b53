//! The `tracestate` header: parsed once on the way in, and sent on as it came unless a sampler changed it.
//!
//! Follows W3C Trace Context level 2, "Tracestate Header"
//! (<https://www.w3.org/TR/trace-context-2/#tracestate-header>).

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
/// Members beyond this length, comma excluded, are the first to go where a list is too long.
const LONG_MEMBER: usize = 128;
/// Lists up to this length are written without an allocation.
const SHORT_LIST: usize = 512;

/// A key and a value.
type Member<'a> = (&'a str, &'a str);

/// Reads the received lines: the state as far as the API's type can hold it, and the text where that type does not give
/// it again. `None` if there is no member, or if a rule is broken, for then the header is dropped as a whole.
#[inline]
pub(crate) fn receive(fields: &CarrierFields<'_, '_>) -> Option<(TraceState, Option<Arc<str>>)> {
    if fields.has(Field::Tracestate) { receive_lines(fields) } else { None }
}

fn receive_lines(fields: &CarrierFields<'_, '_>) -> Option<(TraceState, Option<Arc<str>>)> {
    let mut lines = fields.lines(Field::Tracestate);
    let bytes = lines.clone().map(|line| line.len() + 1).sum::<usize>();
    if bytes > MAX_BYTES + 1 || fields.has_too_many(Field::Tracestate) {
        return None;
    }
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let mut joined = String::new();
    for line in lines {
        if joined.is_empty() {
            joined.reserve_exact(bytes);
            joined.push_str(first);
        }
        joined.push(',');
        joined.push_str(std::str::from_utf8(line).ok()?);
    }
    let text = if joined.is_empty() { first } else { &joined };

    let (mut keys, mut count, mut length, mut has_duplicates) = ([""; MAX_MEMBERS], 0, 0, false);
    for member in members(text) {
        let (key, value) = member.filter(|(key, value)| is_key(key) && is_value(value))?;
        if keys[..count].contains(&key) {
            has_duplicates = true;
            continue;
        }
        *keys.get_mut(count)? = key;
        count += 1;
        length += key.len() + value.len() + 2;
    }
    if count == 0 {
        return None;
    }
    if !has_duplicates && let Ok(state) = TraceState::from_key_value(members(text).flatten()) {
        let is_same_text = length == text.len() + 1;
        return Some((state, (!is_same_text).then(|| text.into())));
    }
    Some(receive_irregular(text, has_duplicates))
}

/// Reads a list that has keys twice, of which the first counts, or keys that the API's type cannot hold.
fn receive_irregular(text: &str, has_duplicates: bool) -> (TraceState, Option<Arc<str>>) {
    let mut list: Vec<Member<'_>> = Vec::with_capacity(MAX_MEMBERS);
    for (key, value) in members(text).flatten() {
        if !list.iter().any(|(known, _)| *known == key) {
            list.push((key, value));
        }
    }
    let state = match TraceState::from_key_value(list.iter().copied()) {
        Ok(state) => return (state, None),
        Err(_) => TraceState::from_key_value(list.iter().copied().filter(|member| is_representable(*member))),
    };
    let mut kept = text.into();
    if has_duplicates {
        write_list(list.iter().copied(), |text| kept = text.unwrap_or_default().into());
    }
    (state.unwrap_or_default(), Some(kept))
}

/// Passes the list to send to `send`: the received text if the state is still the one that was read from it, else the
/// state as it is now, with the received members that the API's type cannot hold in their places.
#[inline]
pub(crate) fn send(state: &TraceState, inbound: Option<&InboundTrace>, send: impl FnOnce(Option<&str>)) {
    match inbound.and_then(|trace| trace.tracestate.as_deref()) {
        None if state.into_iter().len() == 0 => send(None),
        Some(text) if was_read_from(state, text) => send(Some(text)),
        None if length(sendable(state)) <= SHORT_LIST => write_list(sendable(state), send),
        text => send_changed(state, text.unwrap_or_default(), send),
    }
}

fn send_changed(state: &TraceState, received: &str, send: impl FnOnce(Option<&str>)) {
    let received: Vec<Member<'_>> = members(received).flatten().collect();
    let mut unrepresentable =
        received.iter().copied().enumerate().filter(|(_, member)| !is_representable(*member)).peekable();
    let mut list: Vec<Member<'_>> = Vec::with_capacity(MAX_MEMBERS);
    for member in sendable(state) {
        // A member that is unchanged keeps its place behind those that came before it.
        if let Some(place) = received.iter().position(|known| *known == member) {
            while let Some((_, before)) = unrepresentable.next_if(|(index, _)| *index < place) {
                list.push(before);
            }
        }
        list.push(member);
    }
    list.extend(unrepresentable.map(|(_, member)| member));
    list.truncate(MAX_MEMBERS);
    while length(list.iter().copied()) > MAX_BYTES + 1 {
        let long = list.iter().rposition(|(key, value)| key.len() + value.len() + 1 > LONG_MEMBER);
        list.remove(long.unwrap_or(list.len() - 1));
    }
    write_list(list.iter().copied(), send);
}

/// The members of a state, without those that no header may carry: the API's type lets a sampler put them in.
fn sendable(state: &TraceState) -> impl Iterator<Item = Member<'_>> {
    state.into_iter().filter(|(key, value)| !key.is_empty() && is_value(value))
}

/// The bytes of a list, with a comma after each member.
fn length<'m>(list: impl Iterator<Item = Member<'m>>) -> usize {
    list.map(|(key, value)| key.len() + value.len() + 2).sum()
}

/// Writes a list and passes it on, `None` if it is empty. A short one is written on the stack.
fn write_list<'m>(list: impl Iterator<Item = Member<'m>>, done: impl FnOnce(Option<&str>)) {
    let (mut short, mut long, mut at) = ([0; SHORT_LIST], Vec::new(), 0);
    for (key, value) in list {
        for part in [key, "=", value, ","] {
            match short.get_mut(at..at + part.len()) {
                Some(space) if long.is_empty() => space.copy_from_slice(part.as_bytes()),
                _ => {
                    if long.is_empty() {
                        long.extend_from_slice(&short[..at]);
                    }
                    long.extend_from_slice(part.as_bytes());
                }
            }
            at += part.len();
        }
    }
    let written = if long.is_empty() { &short[..at] } else { &long[..] };
    let Some((_last_comma, list)) = written.split_last() else { return done(None) };
    // Nothing but text was written, so this is always text.
    if let Ok(text) = std::str::from_utf8(list) {
        done(Some(text));
    }
}

/// Returns true if the API's type can hold a member. Its keys follow level 1 (one `@`, close to the end), ours level 2.
fn is_representable(member: Member<'_>) -> bool {
    TraceState::from_key_value([member]).is_ok()
}

/// Returns true if reading `text` gives `state`; does not allocate if it does and all members are representable.
fn was_read_from(state: &TraceState, text: &str) -> bool {
    let mut now = state.into_iter();
    let mut next = now.next();
    for member in members(text).flatten() {
        if next == Some(member) {
            next = now.next();
        } else if is_representable(member) {
            return false;
        }
    }
    next.is_none()
}

/// Iterates over the members that are not empty, with `None` in place of one without `=`.
fn members(text: &str) -> impl Iterator<Item = Option<Member<'_>>> {
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
