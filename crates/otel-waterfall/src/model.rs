//! The data that is drawn: traces and spans as plain structs, from the SDK or from a file.
//!
//! Follows the [Trace API, "Span"](https://opentelemetry.io/docs/specs/otel/trace/api/#span).

use std::{collections::HashMap, sync::Arc};

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};

/// The finished spans of one trace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trace {
    /// The trace id.
    pub id: TraceId,
    /// The spans, in any order.
    pub spans: Vec<Span>,
    /// Number of further spans that were not kept because a limit was reached.
    pub not_kept: u64,
    /// True if spans of this trace were drawn before; `spans` then has only those that arrived late.
    pub continued: bool,
}

impl Trace {
    /// Groups spans by trace, in the order in which the traces first appear.
    #[must_use]
    pub fn group(spans: impl IntoIterator<Item = Span>) -> Vec<Self> {
        let mut traces: Vec<Self> = Vec::new();
        let mut places = HashMap::new();
        for span in spans {
            let place = *places.entry(span.trace_id).or_insert_with(|| {
                traces.push(Self::empty(span.trace_id));
                traces.len() - 1
            });
            traces[place].spans.push(span);
        }
        traces
    }

    pub(crate) fn empty(id: TraceId) -> Self {
        Self { id, spans: Vec::new(), not_kept: 0, continued: false }
    }
}

/// One finished span.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Span {
    /// The trace id.
    pub trace_id: TraceId,
    /// The span id.
    pub span_id: SpanId,
    /// The parent's span id; `None` for a root.
    pub parent: Option<SpanId>,
    /// True if the parent's context was received from another service.
    pub parent_is_remote: bool,
    /// The resource's `service.name`; empty if unknown.
    pub service: Arc<str>,
    /// The attributes of the resource, `service.name` included; shared by the spans of one provider.
    pub resource: Arc<[(String, String)]>,
    /// The name of the instrumentation scope; empty if unknown.
    pub scope: Arc<str>,
    /// The name.
    pub name: String,
    /// The kind.
    pub kind: SpanKind,
    /// The start time, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// The end time, in nanoseconds since the Unix epoch.
    pub end: u64,
    /// The status.
    pub status: Status,
    /// The attributes, with values as text.
    pub attributes: Vec<(String, String)>,
    /// The events.
    pub events: Vec<Event>,
    /// The links.
    pub links: Vec<Link>,
}

impl Span {
    /// Creates a root span of kind internal, without attributes, of an unknown service.
    ///
    /// Both times are in nanoseconds since the Unix epoch. An end before the start is drawn as a zero duration.
    #[must_use]
    pub fn new(trace_id: TraceId, span_id: SpanId, name: impl Into<String>, start: u64, end: u64) -> Self {
        Self {
            trace_id,
            span_id,
            parent: None,
            parent_is_remote: false,
            service: Arc::default(),
            resource: Arc::default(),
            scope: Arc::default(),
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            end,
            status: Status::Unset,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Makes the span a child of a span in the same service.
    #[must_use]
    pub fn with_parent(mut self, parent: SpanId) -> Self {
        self.parent = Some(parent);
        self.parent_is_remote = false;
        self
    }

    /// Makes the span a child of a span whose context was received from another service.
    #[must_use]
    pub fn with_remote_parent(mut self, parent: SpanId) -> Self {
        self.parent = Some(parent);
        self.parent_is_remote = true;
        self
    }

    /// Sets the name of the service that created the span.
    #[must_use]
    pub fn with_service(mut self, service: impl Into<Arc<str>>) -> Self {
        self.service = service.into();
        self
    }

    /// Sets the attributes of the resource. The service is set by [`with_service`](Self::with_service).
    #[must_use]
    pub fn with_resource(mut self, attributes: impl Into<Arc<[(String, String)]>>) -> Self {
        self.resource = attributes.into();
        self
    }

    /// Sets the name of the instrumentation scope.
    #[must_use]
    pub fn with_scope(mut self, name: impl Into<Arc<str>>) -> Self {
        self.scope = name.into();
        self
    }

    /// Sets the kind.
    #[must_use]
    pub fn with_kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// Adds an event.
    #[must_use]
    pub fn with_event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// Adds a link.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        self.links.push(link);
        self
    }

    pub(crate) fn is_error(&self) -> bool {
        matches!(self.status, Status::Error { .. })
    }

    pub(crate) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    pub(crate) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The name.
    pub name: String,
    /// The time, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The attributes, with values as text.
    pub attributes: Vec<(String, String)>,
}

impl Event {
    /// Creates an event at a time in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn new(name: impl Into<String>, time: u64) -> Self {
        Self { name: name.into(), time, attributes: Vec::new() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }
}

/// A link from a span to another one, usually in another trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The trace id of the linked span.
    pub trace_id: TraceId,
    /// The span id of the linked span.
    pub span_id: SpanId,
    /// The attributes, with values as text.
    pub attributes: Vec<(String, String)>,
}

impl Link {
    /// Creates a link to a span.
    #[must_use]
    pub fn new(trace_id: TraceId, span_id: SpanId) -> Self {
        Self { trace_id, span_id, attributes: Vec::new() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }
}
