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
    /// Cuts texts and drops items beyond the limits, as [`from_sdk`](Self::from_sdk) does. The texts that spans share are
    /// cut by [`SharedTexts`].
    pub(crate) fn bound(&mut self, shared: &mut SharedTexts) {
        shared.services.bound(&mut self.service);
        shared.scopes.bound(&mut self.scope);
        shared.resources.bound(&mut self.resource);
        bound_text(&mut self.name);
        if let opentelemetry::trace::Status::Error { description } = &mut self.status {
            *description = clip(std::mem::take(description).into_owned()).into();
        }
        bound_attributes(&mut self.attributes);
        bound_items(&mut self.events, MAX_ITEMS);
        for event in &mut self.events {
            bound_text(&mut event.name);
            bound_attributes(&mut event.attributes);
        }
        bound_items(&mut self.links, MAX_ITEMS);
        for link in &mut self.links {
            bound_attributes(&mut link.attributes);
        }
    }
}

/// Cuts the texts that the records of one request share: names of services and scopes, and resources.
#[cfg(feature = "serve")]
#[derive(Debug, Default)]
pub(crate) struct SharedTexts {
    pub(crate) services: SharedCut<str>,
    scopes: SharedCut<str>,
    resources: SharedCut<[(String, String)]>,
}

/// The last value that was cut, with its replacement: the records after it share the replacement, as they shared the value.
#[cfg(feature = "serve")]
#[derive(Debug)]
pub(crate) struct SharedCut<T: ?Sized>(Option<(Arc<T>, Arc<T>)>);

#[cfg(feature = "serve")]
impl<T: ?Sized> Default for SharedCut<T> {
    fn default() -> Self {
        Self(None)
    }
}

#[cfg(feature = "serve")]
impl<T: ?Sized + Cut> SharedCut<T> {
    pub(crate) fn bound(&mut self, value: &mut Arc<T>) {
        match &self.0 {
            Some((long, cut)) if Arc::ptr_eq(long, value) => *value = Arc::clone(cut),
            _ => {
                if let Some(cut) = value.cut() {
                    self.0 = Some((std::mem::replace(value, Arc::clone(&cut)), cut));
                }
            }
        }
    }
}

#[cfg(feature = "serve")]
pub(crate) trait Cut {
    /// Returns the value within the limits, or `None` if it is within them.
    fn cut(&self) -> Option<Arc<Self>>;
}

#[cfg(feature = "serve")]
impl Cut for str {
    fn cut(&self) -> Option<Arc<Self>> {
        (self.len() > MAX_TEXT).then(|| clip(self.to_owned()).into())
    }
}

#[cfg(feature = "serve")]
impl Cut for [(String, String)] {
    fn cut(&self) -> Option<Arc<Self>> {
        let is_long = |(key, value): &(String, String)| key.capacity().max(value.capacity()) > MAX_TEXT;
        (self.len() > MAX_ITEMS || self.iter().any(is_long)).then(|| {
            let items = self.iter().take(MAX_ITEMS);
            items.map(|(key, value)| (clip(key.clone()), clip(value.clone()))).collect()
        })
    }
}

/// Cuts a text, and releases the memory beyond the limit: a short text can have the buffer of a long one, because a field of a
/// protobuf message can occur twice.
#[cfg(feature = "serve")]
pub(crate) fn bound_text(text: &mut String) {
    if text.capacity() > MAX_TEXT {
        *text = clip(std::mem::take(text));
    }
}

#[cfg(feature = "serve")]
pub(crate) fn bound_attributes(attributes: &mut Vec<(String, String)>) {
    bound_items(attributes, MAX_ITEMS);
    for (key, value) in attributes {
        bound_text(key);
        bound_text(value);
    }
}

/// Drops items beyond the limit, and releases their memory.
#[cfg(feature = "serve")]
pub(crate) fn bound_items<T>(items: &mut Vec<T>, limit: usize) {
    if items.capacity() > limit {
        items.truncate(limit);
        items.shrink_to_fit();
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
    }
    text.shrink_to_fit();
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
