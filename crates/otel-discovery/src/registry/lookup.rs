//! The span of a request to a registry.
//!
//! Follows the [trace semantic conventions](https://opentelemetry.io/docs/specs/semconv/general/trace/): a request that goes out
//! is a span of the kind CLIENT.

use std::time::Duration;

use opentelemetry::trace::{SpanKind, SpanRef};
use opentelemetry::{Context, KeyValue};
use otel_operation::{
    FinishOnOutput, Operation, OperationFuture, OperationObserver, Outcome, SpanStart, StartTime,
};

use crate::attributes::{ANSWER_ENDPOINTS, REGISTRY, SERVICE};
use crate::error::RegistryError;
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::RegistryAnswer;

/// The names of a request.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    /// The kind of the registry.
    pub(super) registry: &'static str,
    /// A verb, with which the name of the span begins.
    pub(super) operation: &'static str,
    pub(super) service: &'a str,
}

/// Runs a request to a registry inside of a span, a child of the current one. `server` are the attributes of the registry's server.
pub(super) async fn record<T, F>(
    instrumentation: &DiscoveryInstrumentation,
    names: Names<'_>,
    server: Vec<KeyValue>,
    request: F,
) -> Result<T, RegistryError>
where
    T: Response,
    F: Future<Output = Result<T, RegistryError>>,
{
    let start_time = StartTime::now();
    let Names { registry, operation, service } = names;
    let operation = Operation::start(
        instrumentation.tracer(),
        || SpanStart::new(format!("{operation} {service}"), SpanKind::Client, start_time.time),
        &Context::current(),
        start_time,
        Request { endpoints: None },
        || {
            let names = [KeyValue::new(SERVICE, service.to_owned()), KeyValue::new(REGISTRY, registry)];
            names.into_iter().chain(server).collect()
        },
    );
    OperationFuture::new(request, Some(operation)).await
}

/// A response of a registry.
pub(super) trait Response {
    /// Returns the number of endpoints, of responses that have some.
    fn endpoints(&self) -> Option<usize>;
}

impl Response for RegistryAnswer {
    fn endpoints(&self) -> Option<usize> {
        Some(self.endpoints.len())
    }
}

impl<T> Response for (RegistryAnswer, T) {
    fn endpoints(&self) -> Option<usize> {
        self.0.endpoints()
    }
}

impl Response for () {
    fn endpoints(&self) -> Option<usize> {
        None
    }
}

struct Request {
    endpoints: Option<usize>,
}

impl OperationObserver for Request {
    fn outcome_if_dropped(&mut self) -> Outcome {
        // The end of a watch.
        Outcome::cancelled().intended()
    }

    fn finish_span(&mut self, span: &SpanRef<'_>, _: &Outcome) {
        if let Some(count) = self.endpoints {
            span.set_attribute(KeyValue::new(ANSWER_ENDPOINTS, i64::try_from(count).unwrap_or(i64::MAX)));
        }
    }

    fn record_metrics(&mut self, _: &Outcome, _: Duration) {}
}

impl<T: Response> FinishOnOutput<Result<T, RegistryError>> for Request {
    type Output = Result<T, RegistryError>;

    fn complete(operation: Option<Operation<Self>>, output: Self::Output) -> Self::Output {
        if let Some(mut operation) = operation {
            let outcome = match &output {
                Ok(response) => {
                    operation.observer_mut().endpoints = response.endpoints();
                    Outcome::ok()
                }
                Err(error) => Outcome::error(error.error_type()),
            };
            operation.finish(&outcome);
        }
        output
    }
}
