//! The logical call: the span around the attempts of one call.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP request retries
//! and redirects": each attempt has a span of its own, and all have one parent.

use std::time::Duration;

use http::Response;
use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, KeyValue};
use otel_operation::{FinishOnOutput, Operation, OperationObserver, Outcome, SpanStart, StartTime};
use otel_request::DropReason;

use super::Retry;
use crate::attributes::NAME;
use crate::outcome;

/// The observer of a logical call. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
#[non_exhaustive]
pub struct LogicalCall;

impl Retry {
    /// Starts the span of a logical call, if the policy has one.
    pub(super) fn start_call(&self) -> Option<Operation<LogicalCall>> {
        self.0.has_span.then(|| {
            let start_time = StartTime::now();
            let name = &self.0.name;
            Operation::start(
                self.0.instrumentation.tracer(),
                || SpanStart::new(name.clone(), SpanKind::Internal, start_time.time),
                &Context::current(),
                start_time,
                LogicalCall,
                || vec![KeyValue::new(NAME, name.clone())],
            )
        })
    }
}

impl OperationObserver for LogicalCall {
    fn outcome_if_dropped(&mut self) -> Outcome {
        match DropReason::current() {
            Some(DropReason::Timeout) => Outcome::error("timeout"),
            Some(DropReason::HedgeLost) => Outcome::cancelled().intended(),
            _ => Outcome::cancelled(),
        }
    }

    fn record_metrics(&mut self, _outcome: &Outcome, _elapsed: Duration) {}
}

impl<R, E: 'static> FinishOnOutput<Result<Response<R>, E>> for LogicalCall {
    type Output = Result<Response<R>, E>;

    fn complete(operation: Option<Operation<Self>>, output: Self::Output) -> Self::Output {
        if let Some(operation) = operation {
            operation.finish(&outcome::of_result(&output));
        }
        output
    }
}
