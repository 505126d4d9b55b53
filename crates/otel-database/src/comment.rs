//! The context of an operation as a comment of its query.
//!
//! Follows [SQLCommenter](https://google.github.io/sqlcommenter/spec/) as the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#sql-commenter) use it: the fields of the
//! propagator in the order of their names, percent-encoded, at the end of the text.

use otel_propagation::HeaderWriter;

/// The field that is left out, because the values of baggage would stand in the server's log.
const BAGGAGE: &str = "baggage";

#[derive(Debug, Default)]
pub(crate) struct QueryComment {
    fields: Vec<(String, String)>,
}

impl QueryComment {
    /// Returns the query with the comment, or `None` if there is nothing to write.
    pub(crate) fn append_to(mut self, query: &str) -> Option<String> {
        if self.fields.is_empty() {
            return None;
        }
        self.fields.sort();
        let fields =
            self.fields.iter().map(|(name, value)| format!("{}='{}'", encoded(name), encoded(value)));
        let fields: Vec<String> = fields.collect();
        Some(format!("{query} /*{}*/", fields.join(",")))
    }
}

impl HeaderWriter for QueryComment {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        if !name.eq_ignore_ascii_case(BAGGAGE) {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
    }

    fn remove(&mut self, name: &str) {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    fn contains(&self, name: &str) -> bool {
        self.fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }
}

/// Percent-encodes all but the unreserved characters of [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2.3), so
/// that no value ends the comment.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => {
                let digit =
                    |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
                encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_and_sorted() {
        let mut comment = QueryComment::default();
        comment.set("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
        comment.set("traceparent", "00-1-2-00");
        comment.set("baggage", "user=maria");
        comment.set("TraceParent", "00-1-2-01");
        assert!(comment.contains("traceparent") && !comment.contains("baggage"));
        let expected =
            "SELECT 1 /*TraceParent='00-1-2-01',tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/";
        assert_eq!(comment.append_to("SELECT 1").as_deref(), Some(expected));
        assert_eq!(QueryComment::default().append_to("SELECT 1"), None);
    }

    #[test]
    fn no_value_ends_the_comment() {
        assert_eq!(encoded("'*/;\u{e9}~"), "%27%2A%2F%3B%C3%A9~");
    }
}
