//! The memory of a decoded message, estimated before it is decoded: an empty span has two bytes on the wire and 264 in memory,
//! and an object of JSON with one member has six bytes and 632.
//!
//! The fields are those of [opentelemetry-proto](https://github.com/open-telemetry/opentelemetry-proto/tree/v1.8.0/opentelemetry/proto).

use super::receive::Signal;

/// The parts of a message that can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Request,
    Resources,
    Resource,
    Scopes,
    Scope,
    /// A span, a log record or a metric.
    Record(Signal),
    /// An event or a link of a span.
    Related,
    Data,
    Point,
    Attribute,
    /// A list of values or of attributes.
    Values,
}

impl Part {
    /// Returns the part that a field has, if it has one.
    fn field(self, number: u64, signal: Signal) -> Option<Self> {
        Some(match (self, number) {
            (Self::Request, 1) => Self::Resources,
            (Self::Resources, 1) => Self::Resource,
            (Self::Resources, 2) => Self::Scopes,
            (Self::Scopes, 1) => Self::Scope,
            (Self::Scopes, 2) => Self::Record(signal),
            (Self::Record(Signal::Traces), 11 | 13) => Self::Related,
            (Self::Record(Signal::Metrics), 5 | 7 | 9 | 10 | 11) => Self::Data,
            (Self::Data, 1) => Self::Point,
            // The value of an attribute, and the body of a log record.
            (Self::Attribute, 2) | (Self::Record(Signal::Logs), 5) => Self::Values,
            // Attributes, exemplars and quantiles.
            (Self::Resource | Self::Values, 1)
            | (Self::Scope | Self::Related, 3)
            | (Self::Related, 4)
            | (Self::Record(Signal::Traces), 9)
            | (Self::Record(Signal::Logs), 6)
            | (Self::Record(Signal::Metrics), 12)
            | (Self::Point, 1 | 5..=9 | 11) => Self::Attribute,
            (Self::Values, 5 | 6) => Self::Values,
            _ => return None,
        })
    }

    /// The size of the part in memory, in bytes, with some room.
    const fn size(self) -> usize {
        match self {
            Self::Request | Self::Values => 0,
            Self::Attribute => 96,
            _ => 288,
        }
    }
}

/// The depth that is looked at; the decoder refuses deeper messages.
const MAX_DEPTH: usize = 100;

/// Returns the size in bytes of the decoded message, without its texts, or a size over `limit`.
pub(super) fn decoded_size(signal: Signal, message: &[u8], limit: usize) -> usize {
    let mut size = 0;
    add(Part::Request, signal, message, 0, limit, &mut size);
    size
}

fn add(part: Part, signal: Signal, mut bytes: &[u8], depth: usize, limit: usize, size: &mut usize) {
    // An invalid message ends the estimate; the decoder reports it.
    while let Some(key) = varint(&mut bytes) {
        let length = match key & 7 {
            0 => varint(&mut bytes).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut bytes),
            5 => Some(4),
            _ => None,
        };
        let Some(field) = length.and_then(|length| bytes.split_off(..usize::try_from(length).ok()?)) else {
            return;
        };
        if key & 7 != 2 {
            continue;
        }
        if let Some(inner) = part.field(key >> 3, signal) {
            *size += inner.size();
            if *size > limit || depth == MAX_DEPTH {
                return;
            }
            add(inner, signal, field, depth + 1, limit, size);
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The size in bytes of an object of JSON with up to 11 members: one node of the tree of `serde_json::Map`, with some room.
const OBJECT: usize = 672;
/// The size of an array, which has room for four values from its first one on.
const ARRAY: usize = 128;
/// The size of one more value, of an array or an object: its place, as an array doubles its room and a node of the tree is half
/// full, and the allocations of its texts.
const VALUE: usize = 192;

/// Returns the size in bytes of JSON as `serde_json::Value`, without the bytes of its texts, or a size over `limit`.
///
/// The text need not be valid: the parser stops at the first error, and what precedes it is counted as the parser reads it.
pub(super) fn json_size(text: &str, limit: usize) -> usize {
    let mut size = 0;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        size += match byte {
            b'{' => OBJECT,
            b'[' => ARRAY,
            b',' => VALUE,
            b'"' => {
                skip_string(&mut bytes);
                0
            }
            _ => 0,
        };
        if size > limit {
            break;
        }
    }
    size
}

/// Skips the rest of a string and its closing quotation mark.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            // The escaped character can be a quotation mark.
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::KeyValue,
        logs::v1::LogRecord,
        metrics::v1::HistogramDataPoint,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use prost::Message;

    use super::{ARRAY, OBJECT, Part, Signal, VALUE, decoded_size, json_size};

    fn estimate(spans: Vec<Span>) -> usize {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        decoded_size(Signal::Traces, &message, usize::MAX)
    }

    #[test]
    fn spans_and_attributes_are_counted() {
        let span = |attributes| Span {
            name: "GET /orders".to_owned(),
            start_time_unix_nano: 1,
            attributes: vec![KeyValue::default(); attributes],
            ..Span::default()
        };
        let (record, attribute) = (Part::Record(Signal::Traces).size(), Part::Attribute.size());
        let none = estimate(Vec::new());
        assert_eq!(estimate(vec![span(0); 5]) - none, 5 * record);
        assert_eq!(estimate(vec![span(3)]) - none, record + 3 * attribute);
    }

    #[test]
    fn parts_are_at_least_as_large_as_their_types() {
        assert!(Part::Record(Signal::Traces).size() >= size_of::<Span>());
        assert!(Part::Attribute.size() >= size_of::<KeyValue>());
        assert!(Part::Record(Signal::Logs).size() >= size_of::<LogRecord>());
        assert!(Part::Point.size() >= size_of::<HistogramDataPoint>());
    }

    #[test]
    fn the_estimate_ends_at_its_limit_and_with_invalid_bytes() {
        let empty_spans: Vec<u8> = [0x12, 0].repeat(1000);
        let mut message = vec![0x12, 0xd0, 0x0f];
        message.extend(empty_spans);
        let mut request = vec![0x0a, 0xd3, 0x0f];
        request.extend(message);
        let size = decoded_size(Signal::Traces, &request, 10_000);
        assert!((10_000..20_000).contains(&size), "{size}");
        assert_eq!(decoded_size(Signal::Traces, &[0x0a, 0xff, 0xff], 10), 0);
        assert_eq!(decoded_size(Signal::Traces, &[0xff; 12], 10), 0);
    }

    #[test]
    fn objects_arrays_and_values_of_json_are_counted() {
        for (text, size) in [
            ("", 0),
            ("{}", OBJECT),
            (r#"{"a":1,"b":[]}"#, OBJECT + ARRAY + VALUE),
            (r#"[{"":0},{"":0}]"#, ARRAY + 2 * OBJECT + VALUE),
            // Text is not counted, nor is an escaped quotation mark its end.
            (r#"["{[,\"{[,\\",1]"#, ARRAY + VALUE),
            (r#"["{[,"#, ARRAY),
            (r#"["\"#, ARRAY),
        ] {
            assert_eq!(json_size(text, usize::MAX), size, "{text}");
        }
        assert!((1_000..2_000).contains(&json_size(&"{".repeat(100_000), 1_000)));
    }

    #[test]
    fn objects_of_json_are_at_least_as_large_as_their_nodes() {
        // A node of a B-tree has room for 11 members, and is at least half full.
        let member = size_of::<String>() + size_of::<serde_json::Value>();
        assert!(OBJECT >= 11 * member + 2 * size_of::<usize>());
        assert!(
            VALUE >= (OBJECT / 6).max(2 * size_of::<serde_json::Value>()) + 2 * 32,
            "and two short texts"
        );
        assert!(ARRAY >= 4 * size_of::<serde_json::Value>());
    }
}
