//! Conversion of the SDK's finished spans, with all sizes limited so that one span cannot hold much memory.
//!
//! Follows the [Trace SDK, "Span Exporter"](https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-exporter).

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::{KeyValue, trace::SpanId};
use opentelemetry_sdk::trace::SpanData;

use crate::model::{Event, Link, Span};

/// Maximum length of a name or value of a gathered span, in bytes.
pub(crate) const MAX_TEXT: usize = 1024;
/// Maximum number of attributes, of events and of links of a gathered span; the same as the SDK's default.
pub(crate) const MAX_ITEMS: usize = 128;

#[cfg(feature = "serve")]
impl Span {
    /// Cuts texts and drops items beyond the limits, as [`from_sdk`](Self::from_sdk) does.
    pub(crate) fn bound(&mut self) {
        bound_text(&mut self.name);
        if let opentelemetry::trace::Status::Error { description } = &mut self.status
            && description.len() > MAX_TEXT
        {
            *description = clip(std::mem::take(description).into_owned()).into();
        }
        bound_attributes(&mut self.attributes);
        self.events.truncate(MAX_ITEMS);
        for event in &mut self.events {
            bound_text(&mut event.name);
            bound_attributes(&mut event.attributes);
        }
        self.links.truncate(MAX_ITEMS);
        for link in &mut self.links {
            bound_attributes(&mut link.attributes);
        }
    }
}

#[cfg(feature = "serve")]
pub(crate) fn bound_text(text: &mut String) {
    if text.len() > MAX_TEXT {
        *text = clip(std::mem::take(text));
    }
}

#[cfg(feature = "serve")]
pub(crate) fn bound_attributes(attributes: &mut Vec<(String, String)>) {
    attributes.truncate(MAX_ITEMS);
    for (key, value) in attributes {
        bound_text(key);
        bound_text(value);
    }
}

impl Span {
    /// Converts a finished span of the SDK; `service` is the `service.name` of its resource.
    ///
    /// Texts are cut to 1,024 bytes; attributes, events and links after the 128th are dropped.
    #[must_use]
    pub fn from_sdk(data: SpanData, service: impl Into<Arc<str>>) -> Self {
        Self {
            trace_id: data.span_context.trace_id(),
            span_id: data.span_context.span_id(),
            parent: (data.parent_span_id != SpanId::INVALID).then_some(data.parent_span_id),
            parent_is_remote: data.parent_span_is_remote,
            service: service.into(),
            resource: Arc::default(),
            scope: clip(data.instrumentation_scope.name().to_owned()).into(),
            name: clip(data.name.into_owned()),
            kind: data.span_kind,
            start: nanos(data.start_time),
            end: nanos(data.end_time),
            status: match data.status {
                opentelemetry::trace::Status::Error { description } => {
                    opentelemetry::trace::Status::error(clip(description.into_owned()))
                }
                other => other,
            },
            attributes: attributes(data.attributes),
            events: data
                .events
                .into_iter()
                .take(MAX_ITEMS)
                .map(|event| Event {
                    name: clip(event.name.into_owned()),
                    time: nanos(event.timestamp),
                    attributes: attributes(event.attributes),
                })
                .collect(),
            links: data
                .links
                .into_iter()
                .take(MAX_ITEMS)
                .map(|link| Link {
                    trace_id: link.span_context.trace_id(),
                    span_id: link.span_context.span_id(),
                    attributes: attributes(link.attributes),
                })
                .collect(),
        }
    }
}

fn attributes(from: Vec<KeyValue>) -> Vec<(String, String)> {
    from.into_iter()
        .take(MAX_ITEMS)
        .map(|kv| (clip(kv.key.as_str().to_owned()), clip(kv.value.as_str().into_owned())))
        .collect()
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) fn clip(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let mut end = MAX_TEXT - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use opentelemetry::{
        InstrumentationScope,
        trace::{Event, Link, SpanContext, SpanKind, Status, TraceFlags, TraceState},
    };
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::{KeyValue, MAX_ITEMS, MAX_TEXT, Span, SpanData, SpanId, UNIX_EPOCH, clip, nanos};

    #[test]
    fn long_text_is_cut_between_characters() {
        let clipped = clip("é".repeat(MAX_TEXT));
        assert!(clipped.len() <= MAX_TEXT && clipped.ends_with("é…"), "{} bytes", clipped.len());
        assert_eq!(clip("x".repeat(MAX_TEXT)).len(), MAX_TEXT);
    }

    #[test]
    fn one_span_holds_a_bounded_number_of_things() {
        let context =
            || SpanContext::new(1.into(), 2.into(), TraceFlags::SAMPLED, false, TraceState::default());
        let mut data = SpanData {
            span_context: context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "x".repeat(5_000).into(),
            start_time: UNIX_EPOCH,
            end_time: UNIX_EPOCH,
            attributes: vec![KeyValue::new("k".repeat(5_000), "v".repeat(5_000)); 200],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::error("e".repeat(5_000)),
            instrumentation_scope: InstrumentationScope::default(),
        };
        data.events.events = vec![Event::new("e".repeat(5_000), UNIX_EPOCH, data.attributes.clone(), 0); 200];
        data.links.links = vec![Link::new(context(), data.attributes.clone(), 0); 200];
        let span = Span::from_sdk(data, "service");
        let attributes = [&span.attributes, &span.events[127].attributes, &span.links[127].attributes];
        assert!(attributes.iter().all(|all| all.len() == MAX_ITEMS));
        assert!(attributes.iter().all(|all| all[0].0.len() <= MAX_TEXT && all[0].1.len() <= MAX_TEXT));
        assert_eq!((span.events.len(), span.links.len(), span.parent), (MAX_ITEMS, MAX_ITEMS, None));
        assert!(span.name.len() <= MAX_TEXT && span.events[0].name.len() <= MAX_TEXT);
        assert!(matches!(span.status, Status::Error { description } if description.len() <= MAX_TEXT));
    }

    #[test]
    fn times_before_the_epoch_are_zero() {
        assert_eq!(nanos(UNIX_EPOCH - std::time::Duration::from_secs(1)), 0);
        assert_eq!(nanos(UNIX_EPOCH + std::time::Duration::from_nanos(7)), 7);
    }
}
