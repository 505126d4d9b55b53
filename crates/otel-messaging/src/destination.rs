//! Destinations: the names, attributes and metrics that are prepared once for a topic, queue or subject and shared by
//! all operations on it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Destinations" and "Span
//! name".

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Key, KeyValue};
use otel_operation::{Outcome, SmallOnceMap, catch_panic};

use crate::attributes::{
    CONSUMER_GROUP_NAME, DESTINATION_ANONYMOUS, DESTINATION_NAME, DESTINATION_SUBSCRIPTION_NAME,
    DESTINATION_TEMPLATE, DESTINATION_TEMPORARY, bounded, span_name,
};
use crate::config::Options;
use crate::messaging::ClientState;
use crate::metrics::Series;
use crate::operation::{OperationName, OperationType};
use crate::operation_builder::OperationBuilder;

/// The maximum number of cached span names per destination. A broker has fewer operation names.
const NAMES: usize = 16;

/// The description from which a [`Destination`] is prepared.
///
/// The template, or else the name of a destination that is neither temporary nor anonymous, becomes part of span
/// names and a metric attribute. Therefore a template, and a name without a template, must not contain text that an
/// untrusted peer chooses.
#[derive(Clone, Debug, Default)]
pub struct DestinationDescription<'a> {
    name: Option<Cow<'a, str>>,
    template: Option<Cow<'a, str>>,
    temporary: bool,
    anonymous: bool,
    consumer_group: Option<Cow<'a, str>>,
    subscription: Option<Cow<'a, str>>,
    attributes: Vec<KeyValue>,
}

impl<'a> DestinationDescription<'a> {
    /// Creates an empty description.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name. If each message has a different name under one template, leave the name unset and record it per
    /// message with [`MessageAttributes::destination_name`](crate::attributes::MessageAttributes::destination_name).
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the low-cardinality pattern that the name matches.
    #[must_use]
    pub fn with_template(mut self, template: impl Into<Cow<'a, str>>) -> Self {
        self.template = Some(template.into());
        self
    }

    /// Marks the destination as temporary: it is deleted when its user disconnects.
    #[must_use]
    pub fn with_temporary(mut self, temporary: bool) -> Self {
        self.temporary = temporary;
        self
    }

    /// Marks the destination as anonymous: the broker generated its name.
    #[must_use]
    pub fn with_anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// Sets the name of the consumer group.
    #[must_use]
    pub fn with_consumer_group(mut self, group: impl Into<Cow<'a, str>>) -> Self {
        self.consumer_group = Some(group.into());
        self
    }

    /// Sets the subscription through which the messages are received.
    #[must_use]
    pub fn with_subscription(mut self, subscription: impl Into<Cow<'a, str>>) -> Self {
        self.subscription = Some(subscription.into());
        self
    }

    /// Adds transport-specific attributes to all spans of this destination. They are not recorded on metrics.
    #[must_use]
    pub fn with_attributes(mut self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.attributes.extend(attributes);
        self
    }

    /// Returns the text that identifies the destination in span names and on metrics, and the key of its metric
    /// attribute.
    fn target(&self) -> Option<(&'static str, &str)> {
        match (&self.template, &self.name) {
            (Some(template), _) => Some((DESTINATION_TEMPLATE, template)),
            (None, Some(name)) if !self.temporary && !self.anonymous => Some((DESTINATION_NAME, name)),
            _ => None,
        }
    }

    /// Returns the attributes of the consumer, which are the same on spans and on metrics.
    fn consumer(&self) -> impl Iterator<Item = KeyValue> {
        [(CONSUMER_GROUP_NAME, &self.consumer_group), (DESTINATION_SUBSCRIPTION_NAME, &self.subscription)]
            .into_iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| text(key, value)))
    }

    /// Returns the key under which the metrics of a consumer's destinations beyond the limit are aggregated.
    pub(crate) fn consumer_key(&self) -> String {
        let (group, subscription) = (self.consumer_group.as_deref(), self.subscription.as_deref());
        format!("{}\0{}", group.unwrap_or_default(), subscription.unwrap_or_default())
    }

    /// Returns the metric attributes without the destination's name.
    pub(crate) fn overflow_metric_attributes(&self, core: &ClientState) -> Vec<KeyValue> {
        let mut list = core.metric_attributes.clone();
        list.extend(self.consumer());
        list
    }

    fn metric_attributes(&self, core: &ClientState) -> Vec<KeyValue> {
        let mut list = self.overflow_metric_attributes(core);
        list.extend(self.target().map(|(key, value)| text(key, value)));
        list
    }

    fn span_attributes(&self, core: &ClientState) -> Vec<KeyValue> {
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

/// Creates a text attribute as an `Arc<str>`, so that cloning it for each span does not copy the text.
pub(crate) fn text(key: impl Into<Key>, value: &str) -> KeyValue {
    KeyValue::new(key, Arc::<str>::from(bounded(value)))
}

/// A topic, queue or subject of one client, with its names, attributes and metrics prepared. Cloning is cheap.
///
/// The methods build operations on the destination. `operation` is the broker's name for the operation
/// (`messaging.operation.name`): `send`, `publish`, `poll`, `commit`, `ack` …
#[derive(Clone)]
pub struct Destination(pub(crate) Arc<PreparedDestination>);

#[derive(Debug)]
pub(crate) struct PreparedDestination {
    core: Arc<ClientState>,
    recorded: bool,
    attributes: Box<[KeyValue]>,
    target: Option<Box<str>>,
    names: SmallOnceMap<OperationName, Cow<'static, str>, NAMES>,
    series: Arc<Series>,
}

impl PreparedDestination {
    /// Prepares a destination with its own span names and metrics.
    pub(crate) fn new(core: &Arc<ClientState>, parts: &DestinationDescription<'_>) -> Self {
        let series = Arc::new(Series::new(parts.metric_attributes(core)));
        let target = parts.target().map(|(_, target)| target);
        Self::with(core, parts, target, series)
    }

    /// Prepares a destination beyond the limit: only the attributes of its spans carry its name.
    pub(crate) fn overflow(
        core: &Arc<ClientState>,
        parts: &DestinationDescription<'_>,
        series: Arc<Series>,
    ) -> Self {
        Self::with(core, parts, None, series)
    }

    /// Prepares the target of operations without a destination. Their spans are named after the broker's address.
    pub(crate) fn without_destination(core: &Arc<ClientState>, series: Arc<Series>) -> Self {
        let address = core.options.server.as_ref().map(|(address, port)| format!("{address}:{port}"));
        Self::with(core, &DestinationDescription::new(), address.as_deref(), series)
    }

    fn with(
        core: &Arc<ClientState>,
        parts: &DestinationDescription<'_>,
        target: Option<&str>,
        series: Arc<Series>,
    ) -> Self {
        let filter = core.options.filter.as_ref();
        let filter_name = parts.name.as_deref().or(parts.template.as_deref());
        let recorded = filter.zip(filter_name).and_then(|(filter, name)| catch_panic(|| filter(name)));
        Self {
            // A filter that panics leaves nothing out.
            recorded: recorded.unwrap_or(true),
            attributes: parts.span_attributes(core).into(),
            target: target.map(Into::into),
            names: SmallOnceMap::new(),
            series,
            core: Arc::clone(core),
        }
    }
}

impl Destination {
    /// Builds a `create` operation for one message of a batch. Its context goes into the message instead of the
    /// `send` span's.
    #[must_use]
    #[inline]
    pub fn create(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(self, operation, Some(OperationType::Create))
    }

    /// Builds a `send` operation for one message or a batch. Finish it when the broker has confirmed or rejected the
    /// messages.
    #[must_use]
    #[inline]
    pub fn send(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(self, operation, Some(OperationType::Send))
    }

    /// Builds a `receive` operation, which also counts its messages as consumed. Start it when the messages have
    /// arrived, with the time at which the wait began ([`OperationBuilder::with_started`]), so that a wait without messages
    /// creates no span and the span can link to the messages.
    #[must_use]
    #[inline]
    pub fn receive(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(self, operation, Some(OperationType::Receive))
    }

    /// Builds a `process` operation for one message or a batch.
    #[must_use]
    #[inline]
    pub fn process(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(self, operation, Some(OperationType::Process))
    }

    /// Builds a `settle` operation: an acknowledgement, a rejection or a commit.
    #[must_use]
    #[inline]
    pub fn settle(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(self, operation, Some(OperationType::Settle))
    }

    /// Builds an operation that has none of the five types, such as one of a transaction. Its span has kind CLIENT
    /// and no `messaging.operation.type`.
    #[must_use]
    #[inline]
    pub fn custom(&self, operation: &'static str) -> OperationBuilder<'_> {
        OperationBuilder::new(self, operation, None)
    }

    /// Counts messages that were delivered without a `receive` operation. Call it once per delivery, even if the
    /// messages are never processed.
    pub fn count_consumed(&self, operation: &'static str, messages: u64) {
        if self.0.recorded
            && messages > 0
            && let Some(instruments) = self.0.core.instruments.get()
        {
            self.0.series.delivered(instruments, OperationName(operation), messages);
        }
    }

    /// Returns false if the client's filter excludes this destination from recording.
    #[must_use]
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.0.recorded
    }

    #[inline]
    pub(crate) fn core(&self) -> &ClientState {
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
        if self.0.recorded
            && let Some(instruments) = self.0.core.instruments.get()
        {
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
