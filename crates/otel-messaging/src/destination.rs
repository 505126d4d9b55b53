//! Destinations: what is prepared once for a topic, a queue or a subject, and used by each operation on it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Destinations" and "Span
//! name".

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Key, KeyValue};
use otel_operation::{Outcome, SmallOnceMap};

use crate::attributes::{
    CONSUMER_GROUP_NAME, DESTINATION_ANONYMOUS, DESTINATION_NAME, DESTINATION_SUBSCRIPTION_NAME,
    DESTINATION_TEMPLATE, DESTINATION_TEMPORARY, bounded, span_name,
};
use crate::config::Options;
use crate::messaging::Core;
use crate::metrics::Series;
use crate::operation::{OperationName, OperationType};
use crate::start::Start;

/// Names of operations that are kept ready: more than a broker has.
const NAMES: usize = 16;

/// What a destination is made of.
///
/// The template, else the name unless it is temporary or anonymous, stands in span names and on metrics. So what
/// strangers choose freely belongs neither into a template nor, without one, into a name.
#[derive(Clone, Debug, Default)]
pub struct DestinationParts<'a> {
    name: Option<Cow<'a, str>>,
    template: Option<Cow<'a, str>>,
    temporary: bool,
    anonymous: bool,
    consumer_group: Option<Cow<'a, str>>,
    subscription: Option<Cow<'a, str>>,
    attributes: Vec<KeyValue>,
}

impl<'a> DestinationParts<'a> {
    /// A destination of which nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The name. Leave it out where it differs from message to message under one template, and tell it by
    /// [`SpanAttributes::destination_name`](crate::attributes::SpanAttributes::destination_name).
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The pattern that names of this kind have in common.
    #[must_use]
    pub fn with_template(mut self, template: impl Into<Cow<'a, str>>) -> Self {
        self.template = Some(template.into());
        self
    }

    /// Says whether the destination goes away with its user.
    #[must_use]
    pub fn with_temporary(mut self, temporary: bool) -> Self {
        self.temporary = temporary;
        self
    }

    /// Says whether the broker made the name.
    #[must_use]
    pub fn with_anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// The group of consumers that share the messages.
    #[must_use]
    pub fn with_consumer_group(mut self, group: impl Into<Cow<'a, str>>) -> Self {
        self.consumer_group = Some(group.into());
        self
    }

    /// The subscription by which the messages come.
    #[must_use]
    pub fn with_subscription(mut self, subscription: impl Into<Cow<'a, str>>) -> Self {
        self.subscription = Some(subscription.into());
        self
    }

    /// Attributes of the transport's own that all spans of this destination have. Metrics do not get them.
    #[must_use]
    pub fn with_attributes(mut self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.attributes.extend(attributes);
        self
    }

    /// What names the destination in spans and on metrics, with the attribute that says so.
    fn target(&self) -> Option<(&'static str, &str)> {
        match (&self.template, &self.name) {
            (Some(template), _) => Some((DESTINATION_TEMPLATE, template)),
            (None, Some(name)) if !self.temporary && !self.anonymous => Some((DESTINATION_NAME, name)),
            _ => None,
        }
    }

    /// The consumer's side, which is the same on spans and on metrics.
    fn consumer(&self) -> impl Iterator<Item = KeyValue> {
        [(CONSUMER_GROUP_NAME, &self.consumer_group), (DESTINATION_SUBSCRIPTION_NAME, &self.subscription)]
            .into_iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| text(key, value)))
    }

    /// What a consumer's destinations beyond the bound are told apart by on metrics.
    pub(crate) fn consumer_key(&self) -> String {
        let (group, subscription) = (self.consumer_group.as_deref(), self.subscription.as_deref());
        format!("{}\0{}", group.unwrap_or_default(), subscription.unwrap_or_default())
    }

    /// The attributes of metrics, without the destination's name.
    pub(crate) fn unnamed_metric_attributes(&self, core: &Core) -> Vec<KeyValue> {
        let mut list = core.metric_attributes.clone();
        list.extend(self.consumer());
        list
    }

    fn metric_attributes(&self, core: &Core) -> Vec<KeyValue> {
        let mut list = self.unnamed_metric_attributes(core);
        list.extend(self.target().map(|(key, value)| text(key, value)));
        list
    }

    fn span_attributes(&self, core: &Core) -> Vec<KeyValue> {
        let mut list = core.span_attributes.clone();
        list.extend(self.name.as_ref().map(|name| text(DESTINATION_NAME, name)));
        list.extend(self.template.as_ref().map(|template| text(DESTINATION_TEMPLATE, template)));
        for (key, is) in [(DESTINATION_TEMPORARY, self.temporary), (DESTINATION_ANONYMOUS, self.anonymous)] {
            if is {
                list.push(KeyValue::new(key, true));
            }
        }
        list.extend(self.consumer());
        list.extend_from_slice(&self.attributes);
        list
    }
}

/// Shared, since each span gets a clone.
pub(crate) fn text(key: impl Into<Key>, value: &str) -> KeyValue {
    KeyValue::new(key, Arc::<str>::from(bounded(value)))
}

/// A destination, prepared: its names, attributes and metrics are made once. Cloning is cheap.
///
/// The methods begin operations on it. `operation` is what the broker calls the operation
/// (`messaging.operation.name`): `send`, `publish`, `poll`, `commit`, `ack` …
#[derive(Clone)]
pub struct Destination(pub(crate) Arc<Prepared>);

#[derive(Debug)]
pub(crate) struct Prepared {
    core: Arc<Core>,
    recorded: bool,
    attributes: Box<[KeyValue]>,
    target: Option<Box<str>>,
    names: SmallOnceMap<OperationName, Cow<'static, str>, NAMES>,
    series: Arc<Series>,
}

impl Prepared {
    /// A destination of its own name and metrics.
    pub(crate) fn new(core: &Arc<Core>, parts: &DestinationParts<'_>) -> Self {
        let series = Arc::new(Series::new(parts.metric_attributes(core)));
        let target = parts.target().map(|(_, target)| target);
        Self::with(core, parts, target, series)
    }

    /// One past the bound: what it is called stands in the attributes of its spans alone.
    pub(crate) fn unnamed(core: &Arc<Core>, parts: &DestinationParts<'_>, series: Arc<Series>) -> Self {
        Self::with(core, parts, None, series)
    }

    /// What has no destination is named after the broker's address.
    pub(crate) fn nowhere(core: &Arc<Core>, series: Arc<Series>) -> Self {
        let address = core.options.server.as_ref().map(|(address, port)| format!("{address}:{port}"));
        Self::with(core, &DestinationParts::new(), address.as_deref(), series)
    }

    fn with(
        core: &Arc<Core>,
        parts: &DestinationParts<'_>,
        target: Option<&str>,
        series: Arc<Series>,
    ) -> Self {
        let filter = core.options.filter.as_ref();
        let asked = parts.name.as_deref().or(parts.template.as_deref());
        Self {
            recorded: filter.is_none_or(|filter| asked.is_none_or(|name| filter(name))),
            attributes: parts.span_attributes(core).into(),
            target: target.map(Into::into),
            names: SmallOnceMap::new(),
            series,
            core: Arc::clone(core),
        }
    }
}

impl Destination {
    /// Begins to make one message of a batch: its context goes into the message in place of the `send` span's.
    #[must_use]
    #[inline]
    pub fn create(&self, operation: &'static str) -> Start<'_> {
        Start::new(self, operation, Some(OperationType::Create))
    }

    /// Begins to send one message, or a batch. Ends with the broker's word.
    #[must_use]
    #[inline]
    pub fn send(&self, operation: &'static str) -> Start<'_> {
        Start::new(self, operation, Some(OperationType::Send))
    }

    /// Begins to receive. Start it when the messages are there, with the time at which the wait for them began
    /// ([`Start::with_started`]): a wait for nothing is then no span, and messages can be linked. It counts its
    /// messages as consumed.
    #[must_use]
    #[inline]
    pub fn receive(&self, operation: &'static str) -> Start<'_> {
        Start::new(self, operation, Some(OperationType::Receive))
    }

    /// Begins to process one message, or a batch.
    #[must_use]
    #[inline]
    pub fn process(&self, operation: &'static str) -> Start<'_> {
        Start::new(self, operation, Some(OperationType::Process))
    }

    /// Begins to settle: to acknowledge, reject or commit.
    #[must_use]
    #[inline]
    pub fn settle(&self, operation: &'static str) -> Start<'_> {
        Start::new(self, operation, Some(OperationType::Settle))
    }

    /// Begins an operation of none of the five types: one of a transaction, say. Its span is of kind CLIENT and has no
    /// `messaging.operation.type`.
    #[must_use]
    #[inline]
    pub fn other(&self, operation: &'static str) -> Start<'_> {
        Start::new(self, operation, None)
    }

    /// Counts messages that were handed to the application without a receive operation: once a delivery, whether
    /// they are processed or not.
    pub fn count_consumed(&self, operation: &'static str, messages: u64) {
        if self.0.recorded
            && messages > 0
            && let Some(instruments) = self.0.core.instruments.get()
        {
            self.0.series.delivered(instruments, OperationName(operation), messages);
        }
    }

    /// Whether operations on this destination are recorded: false where the filter says so.
    #[must_use]
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.0.recorded
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }

    #[inline]
    pub(crate) fn options(&self) -> &Options {
        &self.0.core.options
    }

    #[inline]
    pub(crate) fn attributes(&self) -> &[KeyValue] {
        &self.0.attributes
    }

    #[inline]
    pub(crate) fn span_name(&self, operation: OperationName) -> Cow<'static, str> {
        self.0.names.get_or_init_with(
            operation,
            || span_name(operation.0, self.0.target.as_deref()),
            Cow::clone,
        )
    }

    #[inline]
    pub(crate) fn measure(
        &self,
        operation: OperationName,
        operation_type: Option<OperationType>,
        messages: u64,
        outcome: &Outcome,
        elapsed: Duration,
    ) {
        if let Some(instruments) = self.0.core.instruments.get() {
            self.0.series.measure(instruments, (operation, operation_type), messages, outcome, elapsed);
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("target", &self.0.target)
            .field("recorded", &self.0.recorded)
            .finish_non_exhaustive()
    }
}
