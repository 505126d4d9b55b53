//! The memory of a decoded message, estimated before it is decoded: an empty span has two bytes on the wire and 264 in memory.
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

    use super::{Part, Signal, decoded_size};

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
}
