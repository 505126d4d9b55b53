//! Members of a `baggage` header as text: taking them apart, and percent-coding of their values.
//!
//! Follows W3C Baggage, "Header Content" (<https://www.w3.org/TR/baggage/#header-content>).

use std::borrow::Cow;

/// One member; the value is decoded, the properties are as they are sent.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) properties: &'a str,
}

/// Allowed in a name (`token`).
const NAME: u8 = 1;
/// Allowed in a value as it is sent (`baggage-octet`).
const VALUE: u8 = 2;
/// Allowed in properties as they are sent, white space included.
const PROPERTY: u8 = 4;
/// Sent without encoding: a `baggage-octet`, but neither `%`, which starts a code, nor `+`, which
/// Python's reader takes for a space.
const LITERAL: u8 = 8;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        let mut class = 0;
        if byte != b',' {
            class |= PROPERTY;
        }
        if !matches!(byte, b' ' | b'"' | b',' | b';' | b'\\') {
            class |= VALUE;
            if !matches!(byte, b'%' | b'+') {
                class |= LITERAL;
            }
        }
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            class |= NAME;
        }
        classes[byte as usize] = class;
        byte += 1;
    }
    classes[b'\t' as usize] = PROPERTY;
    classes
};

/// The classes that every byte of a text is of.
fn classes(text: &str) -> u8 {
    text.bytes().fold(u8::MAX, |classes, byte| classes & CLASSES[usize::from(byte)])
}

/// One member as it was received.
pub(super) struct RawMember<'a> {
    /// All of it, without the white space around it.
    pub(super) text: &'a str,
    pub(super) name: &'a str,
    /// Percent-encoded.
    pub(super) value: &'a str,
    pub(super) properties: &'a str,
}

/// Takes one line apart. Empty members are skipped, and so are those that break the grammar.
pub(super) fn for_each(line: &[u8], found: impl FnMut(RawMember<'_>)) {
    match std::str::from_utf8(line) {
        Ok(line) => members(line).for_each(found),
        // The members that are text are good still.
        Err(_) => {
            let texts = line.split(|byte| *byte == b',').filter_map(|text| std::str::from_utf8(text).ok());
            texts.filter_map(member).for_each(found);
        }
    }
}

/// Takes a line apart that is known to be text.
pub(super) fn members(line: &str) -> impl Iterator<Item = RawMember<'_>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.bytes().position(|byte| byte == b',');
        rest = end.map(|at| &text[at + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
    .filter_map(member)
}

#[inline]
fn member(text: &str) -> Option<RawMember<'_>> {
    let text = trim(text);
    let equals = text.bytes().position(|byte| byte == b'=')?;
    let (name, rest) = (&text[..equals], &text[equals + 1..]);
    // Most members have neither white space nor properties.
    if !name.is_empty() && classes(name) & NAME != 0 && classes(rest) & VALUE != 0 {
        return Some(RawMember { text, name, value: rest, properties: "" });
    }
    let (value, properties) = match rest.bytes().position(|byte| byte == b';') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, ""),
    };
    // White space is allowed around each part, and none of it can be in a name or a value.
    let (name, value, properties) = (trim(name), trim(value), trim(properties));
    let valid = !name.is_empty()
        && classes(name) & NAME != 0
        && classes(value) & VALUE != 0
        && classes(properties) & PROPERTY != 0;
    valid.then_some(RawMember { text, name, value, properties })
}

#[inline]
fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => text.trim_matches([' ', '\t']),
        _ => text,
    }
}

/// A decoded value.
pub(super) struct Decoded<'a> {
    pub(super) value: Cow<'a, str>,
    /// Set if bytes that are not UTF-8 became U+FFFD, as the specification requires.
    pub(super) is_lossy: bool,
}

/// Decodes a value. A `%` without two digits stays.
#[inline]
pub(super) fn decode(value: &str) -> Decoded<'_> {
    match value.bytes().filter(|byte| *byte == b'%').count() {
        0 => Decoded { value: Cow::Borrowed(value), is_lossy: false },
        codes => decode_codes(value, codes),
    }
}

fn decode_codes(value: &str, codes: usize) -> Decoded<'_> {
    let mut decoded = Vec::with_capacity(value.len().saturating_sub(2 * codes));
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        if *first == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            // Two hexadecimal digits make at most 255.
            decoded.push((high * 16 + low) as u8);
            rest = after;
        } else {
            decoded.push(*first);
        }
    }
    match String::from_utf8(decoded) {
        Ok(value) => Decoded { value: Cow::Owned(value), is_lossy: false },
        Err(error) => {
            let value = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Decoded { value: Cow::Owned(value), is_lossy: true }
        }
    }
}

/// The length of a member as it is sent, in bytes.
pub(super) fn encoded_len(member: &Member<'_>) -> usize {
    let value = member.value.len() + 2 * member.value.bytes().filter(|byte| !is_literal(*byte)).count();
    let properties = sendable(member.properties);
    let separator = usize::from(!properties.is_empty());
    member.name.len() + 1 + value + separator + properties.len()
}

/// Writes a member as it is sent.
pub(super) fn encode(member: &Member<'_>, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push_str(member.name);
    text.push('=');
    let mut rest = member.value;
    // Literals are ASCII, so that no character is split; of others each byte is encoded.
    while let Some(at) = rest.bytes().position(|byte| !is_literal(byte)) {
        text.push_str(&rest[..at]);
        let length = rest[at..].chars().next().map_or(1, char::len_utf8);
        for byte in rest[at..at + length].bytes() {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
        }
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    let properties = sendable(member.properties);
    if !properties.is_empty() {
        text.push(';');
        text.push_str(properties);
    }
}

fn is_literal(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & LITERAL != 0
}

/// The API takes any text for properties; what would break the header is not sent.
fn sendable(properties: &str) -> &str {
    if classes(properties) & PROPERTY != 0 { properties } else { "" }
}
