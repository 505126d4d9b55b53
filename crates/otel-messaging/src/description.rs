//! The description of a destination, from which its names, attributes and metrics are prepared.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Destinations".

use std::borrow::Cow;

use opentelemetry::KeyValue;
use otel_operation::catch_panic;

use crate::attributes::{
    DESTINATION_ANONYMOUS, DESTINATION_NAME, DESTINATION_TEMPLATE, DESTINATION_TEMPORARY,
};
use crate::client::{ClientState, bounded_attribute};
use crate::options::Options;

/// The description from which a [`Destination`](crate::Destination) is prepared.
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

    /// Sets the consumer group, if it is not the client's.
    #[must_use]
    pub fn with_consumer_group(mut self, group: impl Into<Cow<'a, str>>) -> Self {
        self.consumer_group = Some(group.into());
        self
    }

    /// Sets the subscription through which the messages are received, if it is not the client's.
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

    /// Applies the user's template function, which takes precedence over the transport's template.
    pub(crate) fn apply_template(mut self, options: &Options) -> Self {
        if let (Some(template), Some(name)) = (&options.destination_template, self.name.as_deref())
            && let Some(template) = catch_panic(|| template(name)).flatten()
        {
            self.template = Some(Cow::Owned(template));
        }
        self
    }

    /// Returns false if the user's filter excludes the destination. A filter that panics excludes nothing.
    pub(crate) fn is_recorded(&self, options: &Options) -> bool {
        match (&options.filter, self.name.as_deref().or(self.template.as_deref())) {
            (Some(filter), Some(filter_name)) => catch_panic(|| filter(filter_name)).unwrap_or(true),
            _ => true,
        }
    }

    pub(crate) fn template(&self) -> Option<&str> {
        self.template.as_deref()
    }

    /// Returns the text that identifies the destination in span names and on metrics, and the key of its metric
    /// attribute.
    pub(crate) fn target(&self) -> Option<(&'static str, &str)> {
        match (&self.template, &self.name) {
            (Some(template), _) => Some((DESTINATION_TEMPLATE, template)),
            (None, Some(name)) if !self.temporary && !self.anonymous => Some((DESTINATION_NAME, name)),
            _ => None,
        }
    }

    fn consumer<'c>(&'c self, client: &'c ClientState) -> impl Iterator<Item = KeyValue> + 'c {
        client.consumer_attributes(self.consumer_group.as_deref(), self.subscription.as_deref())
    }

    /// Returns the key under which the metrics of destinations beyond the limit are aggregated.
    pub(crate) fn overflow_key(&self) -> [&str; 3] {
        [&self.consumer_group, &self.subscription, &self.template]
            .map(|part| part.as_deref().unwrap_or_default())
    }

    /// Returns the metric attributes of destinations beyond the limit, without the name.
    pub(crate) fn overflow_metric_attributes(&self, client: &ClientState) -> Vec<KeyValue> {
        let mut list = client.metric_attributes.clone();
        list.extend(self.consumer(client));
        list.extend(self.template().map(|template| bounded_attribute(DESTINATION_TEMPLATE, template)));
        list
    }

    pub(crate) fn metric_attributes(&self, client: &ClientState) -> Vec<KeyValue> {
        let mut list = client.metric_attributes.clone();
        list.extend(self.consumer(client));
        list.extend(self.target().map(|(key, target)| bounded_attribute(key, target)));
        list
    }

    pub(crate) fn span_attributes(&self, client: &ClientState) -> Vec<KeyValue> {
        let mut list = client.span_attributes.clone();
        list.extend(self.name.as_ref().map(|name| bounded_attribute(DESTINATION_NAME, name)));
        list.extend(self.template().map(|template| bounded_attribute(DESTINATION_TEMPLATE, template)));
        for (key, value) in [(DESTINATION_TEMPORARY, self.temporary), (DESTINATION_ANONYMOUS, self.anonymous)]
        {
            list.extend(value.then(|| KeyValue::new(key, true)));
        }
        list.extend(self.consumer(client));
        list.extend_from_slice(&self.attributes);
        list
    }
}
