//! The names, attributes and metrics of one destination, prepared once and shared by all operations on it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Span name".

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use otel_operation::{Outcome, SmallOnceMap};

use crate::attributes::span_name;
use crate::client::ClientState;
use crate::description::DestinationDescription;
use crate::metrics::Series;
use crate::operation_type::{OperationName, OperationType};

/// The maximum number of cached span names per destination. A broker has fewer operation names.
const NAMES: usize = 16;

#[derive(Debug)]
pub(crate) struct PreparedDestination {
    pub(crate) client: Arc<ClientState>,
    pub(crate) recorded: bool,
    pub(crate) attributes: Box<[KeyValue]>,
    pub(crate) target: Option<Box<str>>,
    names: SmallOnceMap<OperationName, Cow<'static, str>, NAMES>,
    series: Arc<Series>,
}

impl PreparedDestination {
    /// Prepares a destination with its own span names and metrics.
    pub(crate) fn new(client: &Arc<ClientState>, description: &DestinationDescription<'_>) -> Self {
        let series = Arc::new(Series::new(description.metric_attributes(client)));
        Self::with(client, description, description.target().map(|(_, target)| target), series)
    }

    /// Prepares a destination beyond the limit. Only the attributes of its spans carry its name. A template is in span
    /// names and on metrics if `series` has it.
    pub(crate) fn overflow(
        client: &Arc<ClientState>,
        description: &DestinationDescription<'_>,
        series: Option<Arc<Series>>,
        no_series: &Arc<Series>,
    ) -> Self {
        let target = description.template().filter(|_| series.is_some());
        Self::with(client, description, target, series.unwrap_or_else(|| Arc::clone(no_series)))
    }

    /// Prepares the target of operations without a destination. Their spans are named after the broker's address.
    pub(crate) fn without_destination(client: &Arc<ClientState>, series: Arc<Series>) -> Self {
        let address = client.facts.server.as_ref().map(|(address, port)| format!("{address}:{port}"));
        Self::with(client, &DestinationDescription::new(), address.as_deref(), series)
    }

    fn with(
        client: &Arc<ClientState>,
        description: &DestinationDescription<'_>,
        target: Option<&str>,
        series: Arc<Series>,
    ) -> Self {
        Self {
            recorded: description.is_recorded(&client.options),
            attributes: description.span_attributes(client).into(),
            target: target.map(Into::into),
            names: SmallOnceMap::new(),
            series,
            client: Arc::clone(client),
        }
    }

    pub(crate) fn metric_attributes(&self) -> &[KeyValue] {
        self.series.common()
    }

    #[inline]
    pub(crate) fn span_name(&self, operation: OperationName) -> Cow<'static, str> {
        self.names.get_or_init_with(operation, || span_name(operation.0, self.target.as_deref()), Cow::clone)
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
        if let Some(instruments) = self.client.instruments.get() {
            self.series.measure(instruments, (operation, operation_type), messages, outcome, elapsed);
        }
    }

    /// Counts messages that were delivered without a `receive` operation.
    pub(crate) fn count_consumed(&self, operation: OperationName, messages: u64) {
        if self.recorded
            && messages > 0
            && let Some(instruments) = self.client.instruments.get()
        {
            self.series.delivered(instruments, operation, messages);
        }
    }
}
