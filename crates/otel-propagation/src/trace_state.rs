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

    let (mut list, mut count, mut length, mut has_duplicates) = ([("", ""); MAX_MEMBERS], 0, 0, false);
    for member in members(text) {
        let (key, value) = member.filter(|(key, value)| is_key(key) && is_value(value))?;
        if list[..count].iter().any(|(known, _)| *known == key) {
            has_duplicates = true;
            continue;
        }
        *list.get_mut(count)? = (key, value);
        count += 1;
        length += key.len() + value.len() + 2;
    }
    match &list[..count] {
        [] => None,
        list if has_duplicates => Some(receive_irregular(text, list, has_duplicates)),
        list => match TraceState::from_key_value(list.iter().copied()) {
            Ok(state) => Some((state, (length != text.len() + 1).then(|| text.into()))),
            Err(_) => Some(receive_irregular(text, list, has_duplicates)),
        },
    }
}

/// Reads a list that had keys twice, of which the first counts, or that has keys which the API's type cannot hold.
fn receive_irregular(
    text: &str,
    list: &[Member<'_>],
    had_duplicates: bool,
) -> (TraceState, Option<Arc<str>>) {
    let state = match TraceState::from_key_value(list.iter().copied()) {
        Ok(state) => return (state, None),
        Err(_) => TraceState::from_key_value(list.iter().copied().filter(|member| is_representable(*member))),
    };
    let unique = if had_duplicates { join(list) } else { None };
    (state.unwrap_or_default(), Some(unique.map_or_else(|| text.into(), Arc::from)))
}

/// Passes the list to send to `send`: the received text if the state is still the one that was read from it, else the
/// state as it is now, with the received members that the API's type cannot hold in their places.
#[inline]
pub(crate) fn send(state: &TraceState, inbound: Option<&InboundTrace>, send: impl FnOnce(Option<&str>)) {
    match inbound.and_then(|trace| trace.tracestate.as_deref()) {
        None if state.into_iter().len() == 0 => send(None),
        Some(text) if was_read_from(state, text) => send(Some(text)),
        None => send_own(state, send),
        Some(text) => send_changed(state, text, send),
    }
}

/// Sends a state beside which there is no received text: a short one without an allocation.
fn send_own(state: &TraceState, send: impl FnOnce(Option<&str>)) {
    let (mut buffer, mut length) = ([0; SHORT_LIST], 0);
    for (key, value) in sendable(state) {
        let end = length + key.len() + value.len() + 2;
        let Some(space) = buffer.get_mut(length..end) else { return send_changed(state, "", send) };
        let (key_space, value_space) = space.split_at_mut(key.len() + 1);
        let (key_space, equals) = key_space.split_at_mut(key.len());
        let (value_space, comma) = value_space.split_at_mut(value.len());
        key_space.copy_from_slice(key.as_bytes());
        value_space.copy_from_slice(value.as_bytes());
        (equals[0], comma[0], length) = (b'=', b',', end);
    }
    // Nothing but text was written, so this is always text, but for the last comma.
    send(length.checked_sub(1).and_then(|length| std::str::from_utf8(&buffer[..length]).ok()));
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
    while length(&list) > MAX_BYTES + 1 {
        let long = list.iter().rposition(|(key, value)| key.len() + value.len() + 1 > LONG_MEMBER);
        list.remove(long.unwrap_or(list.len() - 1));
    }
    send(join(&list).as_deref());
}

/// The members of a state, without those that no header may carry: the API's type lets a sampler put them in.
fn sendable(state: &TraceState) -> impl Iterator<Item = Member<'_>> {
    state.into_iter().filter(|(key, value)| !key.is_empty() && is_value(value))
}

/// The bytes of a list, with a comma after each member.
fn length(list: &[Member<'_>]) -> usize {
    list.iter().map(|(key, value)| key.len() + value.len() + 2).sum()
}

/// Writes a list; `None` if it is empty.
fn join(list: &[Member<'_>]) -> Option<String> {
    let mut text = String::with_capacity(length(list));
    for (key, value) in list {
        text.extend([key, "=", value, ","]);
    }
    text.pop()?;
    Some(text)
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

/// Iterates over the members that are not empty, with `None` in place of one without `=`. Members are short, so that
/// a loop over their bytes is cheaper than a search.
fn members(text: &str) -> impl Iterator<Item = Option<Member<'_>>> {
    let mut rest = Some(text);
    let next = move || {
        let text = rest?;
        let end = text.bytes().position(|byte| byte == b',');
        rest = end.map(|at| &text[at + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    };
    std::iter::from_fn(next).map(trim).filter(|member| !member.is_empty()).map(|member| {
        let equals = member.bytes().position(|byte| byte == b'=')?;
        Some((&member[..equals], &member[equals + 1..]))
    })
}

#[inline]
fn trim(member: &str) -> &str {
    match member.as_bytes() {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => member.trim_matches([' ', '\t']),
        _ => member,
    }
}

/// Allowed in a key after its first character.
const KEY: u8 = 1;
/// Allowed as the first character of a key.
const KEY_START: u8 = 2;
/// Allowed in a value. A space at the end was cut off before, as optional white space.
const VALUE: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
            classes[byte as usize] |= KEY | KEY_START;
        } else if matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@') {
            classes[byte as usize] |= KEY;
        }
        if !matches!(byte, b'=' | b',') {
            classes[byte as usize] |= VALUE;
        }
        byte += 1;
    }
    classes
};

/// The classes that every byte of a text is of.
#[inline]
fn classes(text: &str) -> u8 {
    text.bytes().fold(u8::MAX, |classes, byte| classes & CLASSES[usize::from(byte)])
}

#[inline]
fn is_key(key: &str) -> bool {
    let starts_well =
        key.as_bytes().first().is_some_and(|first| CLASSES[usize::from(*first)] & KEY_START != 0);
    starts_well && key.len() <= MAX_KEY && classes(key) & KEY != 0
}

#[inline]
fn is_value(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_VALUE && classes(value) & VALUE != 0
}
