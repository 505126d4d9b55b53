//! The recording of a server request, at the response head and at the end of the response body.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! server" and `http.server.request.duration`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Response};
use http_body::Body;
use opentelemetry::KeyValue;
use otel_operation::Outcome;
use otel_request::{
    AttributeScope, EndsWith, NameRank, Protocol, RequestBody, RequestFuture, RequestHead, RequestObserver,
    RequestSpan, SpanName,
};

use super::route::{LateRoute, Route};
use crate::attributes::{ROUTE, STATUS_CODE};
use crate::config::HttpOptions;
use crate::exchange::{HTTP, content_length};
use crate::method::KnownMethod;
use crate::metrics::Key;
use crate::outcome;
use crate::sizes::BodySizes;

/// The state of a server request. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct ServerState {
    pub(super) route: Arc<Route>,
    pub(super) key: Key,
    late_route: Option<LateRoute>,
    /// `true` if the route became known after the start: the span does not have it yet.
    is_route_late: bool,
    /// `true` if a hook named the span: a late route does not rename it.
    is_named: bool,
    /// Present only if body sizes are recorded; boxed to keep the state small otherwise.
    pub(super) sizes: Option<Box<BodySizes>>,
}

impl ServerState {
    #[inline]
    pub(super) fn new(
        route: Arc<Route>,
        key: Key,
        head: &RequestHead<'_>,
        late_route: Option<LateRoute>,
        is_named: bool,
    ) -> Self {
        let sizes = route.series.shared.http.body_sizes.then(|| BodySizes::new(head.headers));
        Self { route, key, late_route, is_route_late: false, is_named, sizes }
    }

    /// Applies the route that a router inside the layer has set, if none was known at the start.
    #[inline]
    fn apply_late_route(&mut self) {
        if let Some(late) = self.late_route.take()
            && let Some(route) = late.get()
        {
            self.on_inner_route(route);
        }
    }

    #[cold]
    fn measure_sizes(&self, outcome: &Outcome, sizes: &BodySizes) {
        let sizes = sizes.measured(self.key.status.is_some());
        self.route.series.record_sizes(self.key, outcome, sizes);
    }

    #[inline]
    fn http(&self) -> &HttpOptions {
        &self.route.series.shared.http
    }
}

impl RequestObserver for ServerState {
    const PROTOCOL: Protocol = HTTP;
    const BODY_IN_CONTEXT: bool = true;

    #[inline]
    fn add_in_flight(&self, delta: i64) -> bool {
        self.route.in_flight.in_flight(&self.key, delta)
    }

    #[inline]
    fn on_response<B: Body>(&mut self, response: &Response<B>, span: Option<&RequestSpan<'_>>) -> EndsWith {
        let status = response.status();
        self.key.status = Some(status);
        if let Some(span) = span {
            if span.scope() != AttributeScope::Hooks {
                span.set_attribute(KeyValue::new(STATUS_CODE, i64::from(status.as_u16())));
            }
            self.http().record_response_head(response, span);
        }
        if !self.http().end_on(response).is_head(response) {
            return EndsWith::Body(content_length(response.headers()));
        }
        match &mut self.sizes {
            Some(sizes) => sizes.defer(),
            None => EndsWith::Head,
        }
    }

    #[inline]
    fn on_data<D: Buf>(&mut self, data: &D, _span: Option<&RequestSpan<'_>>) {
        if let Some(sizes) = &mut self.sizes {
            sizes.add_response(data);
        }
    }

    #[inline]
    fn on_end(&mut self, _trailers: Option<&HeaderMap>) -> Outcome {
        self.key.status.map_or_else(Outcome::ok, outcome::of_server)
    }

    fn on_short_body(&mut self, _trailers: Option<&HeaderMap>) -> Outcome {
        outcome::of_short_body()
    }

    fn on_body_end(&mut self) {
        if let Some(sizes) = self.sizes.take() {
            let outcome = self.on_end(None);
            self.measure_sizes(&outcome, &sizes);
        }
    }

    fn on_error<E: 'static>(&mut self, error: &E, span: Option<&RequestSpan<'_>>) -> Outcome {
        self.http().common.error_outcome(error, self.key.status.is_some(), span.is_some())
    }

    fn late_route(&mut self) -> Option<&str> {
        self.apply_late_route();
        self.route.route.as_deref().filter(|_| self.is_route_late)
    }

    fn on_inner_route(&mut self, route: &str) {
        // The first route stays: it is an attribute already.
        if let Some(routes) = &self.route.routes {
            self.route = routes.get(route);
            self.is_route_late = true;
        }
    }

    #[inline]
    fn finish_span(&mut self, span: &RequestSpan<'_>, _outcome: &Outcome) {
        self.apply_late_route();
        if !self.is_route_late {
            return;
        }
        if let Some(route) = &self.route.route
            && span.scope() != AttributeScope::Hooks
        {
            span.set_attribute(KeyValue::new(ROUTE, Arc::clone(route)));
        }
        if !self.is_named {
            let methods = &self.http().known_methods;
            let method = KnownMethod { index: self.key.method, name: methods.name(self.key.method) };
            span.set_name(SpanName::new(self.route.name(&method), NameRank::Route));
        }
    }

    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.apply_late_route();
        self.route.series.record_duration(self.key, outcome, elapsed);
        if let Some(sizes) = &self.sizes
            && !sizes.is_late()
        {
            self.measure_sizes(outcome, sizes);
        }
    }
}

/// The future of a recorded request.
pub type ServerFuture<F> = RequestFuture<F, ServerState>;

/// The body of a recorded response: the request ends with it.
pub type ServerBody<B> = RequestBody<B, ServerState>;
