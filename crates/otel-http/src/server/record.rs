//! The recording of a server request, at the response head and at the end of the response body.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! server" and `http.server.request.duration`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf as _;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;
use otel_operation::{Complete, ObserveBody, Operation, OperationBody, OperationFuture, Outcome, Record};

use super::{Route, RouteSlot, Shared};
use crate::attributes::{ROUTE, STATUS_CODE};
use crate::config::{EndOn, RequestHead};
use crate::exchange::{content_length, is_event_stream, respond};
use crate::method::KnownMethod;
use crate::metrics::{Key, Measured};
use crate::outcome;

/// The state of a server request. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct ServerRecord {
    shared: Arc<Shared>,
    route: Arc<Route>,
    key: Key,
    slot: Option<RouteSlot>,
    /// `true` if a hook named the span: a late route does not rename it.
    named: bool,
    head_only: bool,
    connect: bool,
    /// Present only if body sizes are recorded; boxed to keep the record small otherwise.
    sizes: Option<Box<Sizes>>,
}

#[derive(Debug)]
struct Sizes {
    request: Option<u64>,
    response: u64,
}

impl ServerRecord {
    pub(super) fn new(
        shared: Arc<Shared>,
        route: Arc<Route>,
        key: Key,
        head: &RequestHead<'_>,
        slot: Option<RouteSlot>,
        named: bool,
    ) -> Self {
        let sizes = shared.options.shared.body_sizes;
        let sizes = sizes.then(|| Box::new(Sizes { request: content_length(head.headers), response: 0 }));
        Self {
            shared,
            route,
            key,
            slot,
            named,
            head_only: head.method == Method::HEAD,
            connect: head.method == Method::CONNECT,
            sizes,
        }
    }

    /// Applies the route that a router inside the layer has set, if any. Returns `true` if it did.
    fn settle_route(&mut self) -> bool {
        let Some(route) = self.slot.take().and_then(|slot| slot.0.get().cloned()) else { return false };
        self.route = self.shared.route(&route);
        true
    }

    fn outcome(&self) -> Outcome {
        self.key.status.map_or_else(Outcome::ok, outcome::of_server)
    }
}

impl Record for ServerRecord {
    fn in_flight(&self, delta: i64) -> bool {
        let Some(instruments) = self.shared.instruments.get() else { return false };
        let methods = &self.shared.options.shared.known_methods;
        self.shared.no_route.series.in_flight(instruments, methods, &self.key, delta);
        true
    }

    fn span(&mut self, span: &SpanRef<'_>, _outcome: &Outcome) {
        if !self.settle_route() {
            return;
        }
        if let Some(route) = &self.route.route {
            span.set_attribute(KeyValue::new(ROUTE, Arc::clone(route)));
        }
        if !self.named {
            let methods = &self.shared.options.shared.known_methods;
            let method = KnownMethod { index: self.key.method, name: methods.name(self.key.method) };
            span.update_name(self.route.name(&method));
        }
    }

    fn measure(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.settle_route();
        let Some(instruments) = self.shared.instruments.get() else { return };
        let options = &self.shared.options.shared;
        let measured = Measured {
            elapsed,
            request_bytes: self.sizes.as_ref().and_then(|sizes| sizes.request),
            response_bytes: self
                .sizes
                .as_ref()
                .filter(|_| self.key.status.is_some())
                .map(|sizes| sizes.response),
        };
        self.route.series.measure(instruments, &options.known_methods, self.key, outcome, &measured);
    }
}

impl<B, E> Complete<Result<Response<B>, E>> for ServerRecord
where
    B: Body,
    B::Error: 'static,
    E: 'static,
{
    type Output = Result<Response<ServerBody<B>>, E>;

    fn complete(operation: Option<Operation<Self>>, output: Result<Response<B>, E>) -> Self::Output {
        let Some(mut operation) = operation else {
            return output.map(|response| response.map(|body| OperationBody::untouched(body)));
        };
        let response = match output {
            Ok(response) => response,
            Err(error) => {
                operation.finish(&outcome::of_error(&error));
                return Err(error);
            }
        };
        let status = response.status();
        operation.record_mut().key.status = Some(status);
        if let Some(span) = operation.recording() {
            span.set_attribute(KeyValue::new(STATUS_CODE, i64::from(status.as_u16())));
            respond(&operation.record().shared.options.shared, &span, &response);
        }
        let ends_here = ends_at_head(operation.record(), &response);
        let exact = response.body().size_hint().exact();
        let length = exact.or_else(|| content_length(response.headers()));
        Ok(response.map(|body| {
            if ends_here {
                let context = operation.context().clone();
                let outcome = operation.record().outcome();
                operation.finish(&outcome);
                OperationBody::after(body, context)
            } else {
                OperationBody::new(body, operation, length)
            }
        }))
    }
}

fn ends_at_head<B: Body>(record: &ServerRecord, response: &Response<B>) -> bool {
    // A response to HEAD has no body, even if the handler returns one. An upgraded connection is no longer HTTP.
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (record.connect && response.status().is_success());
    match record.shared.options.shared.end_on {
        EndOn::Head => true,
        EndOn::Body => record.head_only || switched,
        // A body of known length ends, even if its content type is that of an event stream.
        EndOn::Auto => {
            record.head_only
                || switched
                || (response.body().size_hint().exact().is_none() && is_event_stream(response.headers()))
        }
    }
}

impl<B> ObserveBody<B> for ServerRecord
where
    B: Body,
    B::Error: 'static,
{
    fn data(operation: &mut Operation<Self>, data: &B::Data) {
        if let Some(sizes) = &mut operation.record_mut().sizes {
            sizes.response += data.remaining() as u64;
        }
    }

    fn ended(&mut self, _trailers: Option<&HeaderMap>) -> Outcome {
        self.outcome()
    }

    fn failed(&mut self, error: &B::Error) -> Outcome {
        outcome::of_error(error)
    }
}

/// The future of a [`ServerService`](crate::ServerService).
pub type ServerFuture<F> = OperationFuture<F, ServerRecord>;

/// The response body of a [`ServerService`](crate::ServerService). By default the span ends with it.
pub type ServerBody<B> = OperationBody<B, ServerRecord>;
