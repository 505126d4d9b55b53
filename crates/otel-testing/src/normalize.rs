//! Attribute values as text, with what differs from run to run replaced by a constant.

use opentelemetry::{Array, KeyValue, Value};

/// Operating systems hand out ports from here on (Linux from 32768, the others from 49152) where none is asked for.
const FIRST_EPHEMERAL_PORT: u32 = 32_768;

/// `key: value` pairs, sorted by key, with volatile values normalised.
pub(crate) fn sorted<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> =
        attributes.into_iter().map(|kv| (kv.key.to_string(), value(kv.key.as_str(), &kv.value))).collect();
    pairs.sort();
    pairs
}

fn value(key: &str, value: &Value) -> String {
    match value {
        Value::I64(port) if key.ends_with(".port") && is_ephemeral(*port) => "PORT".to_owned(),
        Value::String(text) => quoted_if_ambiguous(&text_without_ports(text.as_str())),
        Value::Array(Array::String(texts)) => {
            let texts: Vec<_> =
                texts.iter().map(|text| quoted_if_ambiguous(&text_without_ports(text.as_str()))).collect();
            format!("[{}]", texts.join(", "))
        }
        // A float that is whole must not read like an integer.
        Value::F64(number) => format!("{number:?}"),
        other => other.as_str().into_owned(),
    }
}

fn is_ephemeral(port: i64) -> bool {
    u16::try_from(port).is_ok_and(|port| u32::from(port) >= FIRST_EPHEMERAL_PORT)
}

/// Replaces the port in each `host:port` by `PORT` where the port is ephemeral.
pub(crate) fn text_without_ports(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(colon) = rest.find(':') {
        let (before, after) = rest.split_at(colon + 1);
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let follows_host = before[..colon]
            .bytes()
            .next_back()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b']');
        let ends_there = !after[digits..].starts_with(|c: char| c.is_alphanumeric() || c == ':' || c == '.');
        if follows_host && ends_there && after[..digits].parse().is_ok_and(is_ephemeral) {
            out.push_str("PORT");
        } else {
            out.push_str(&after[..digits]);
        }
        rest = &after[digits..];
    }
    out.push_str(rest);
    out
}

/// A string that could be taken for a number, a bool or an array, or that has no visible form, is quoted: a status
/// code that is recorded as text is an error that a snapshot must show.
fn quoted_if_ambiguous(text: &str) -> String {
    let ambiguous = text.is_empty()
        || text.trim() != text
        || text.parse::<f64>().is_ok()
        || text.parse::<bool>().is_ok()
        || text.starts_with(['[', '"'])
        || text.chars().any(char::is_control);
    if ambiguous { format!("{text:?}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kv: KeyValue, expected: &str) {
        assert_eq!(value(kv.key.as_str(), &kv.value), expected);
    }

    #[test]
    fn ephemeral_ports_are_replaced_and_others_stay() {
        check(KeyValue::new("server.port", 54_321), "PORT");
        check(KeyValue::new("server.port", 8080), "8080");
        check(KeyValue::new("server.port", 70_000), "70000");
        check(KeyValue::new("other", 54_321), "54321");
        check(
            KeyValue::new("url.full", "http://127.0.0.1:54321/a?b=c:40000"),
            "http://127.0.0.1:PORT/a?b=c:PORT",
        );
        check(KeyValue::new("url.full", "http://[::1]:54321/"), "http://[::1]:PORT/");
        check(KeyValue::new("url.full", "http://localhost:8080/"), "http://localhost:8080/");
        check(KeyValue::new("address", "fe80::40000:1"), "fe80::40000:1");
    }

    #[test]
    fn the_type_of_a_value_shows() {
        check(KeyValue::new("status", 200), "200");
        check(KeyValue::new("status", "200"), "\"200\"");
        check(KeyValue::new("ratio", 1.0), "1.0");
        check(KeyValue::new("flag", true), "true");
        check(KeyValue::new("flag", "true"), "\"true\"");
        check(KeyValue::new("text", ""), "\"\"");
        check(KeyValue::new("text", "two words"), "two words");
        check(KeyValue::new("list", Value::Array(vec![1_i64, 2].into())), "[1,2]");
    }
}
