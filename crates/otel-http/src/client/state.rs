//! The recording of a client call, at the response head or, by option, at the end of the response body.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client" and `http.client.request.duration`. A call that its caller drops is one that failed: a
//! time-out of the caller drops it in the same way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Response};
use http_body::Body;
use opentelemetry::KeyValue;
use otel_operation::Outcome;
use otel_request::{
    AttributeScope, EndsWith, Protocol, RequestBody, RequestFuture, RequestObserver, RequestSpan,
};

use crate::attributes::{PROTOCOL_VERSION, ProtocolVersion, STATUS_CODE};
use crate::config::HttpOptions;
use crate::exchange::{HTTP, content_length};
use crate::metrics::{Key, Series};
use crate::outcome;
use crate::sizes::BodySizes;
#[cfg(feature = "reqwest")]
use crate::{config::EndOn, sizes::RequestSize};

/// The state of a client call. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct ClientState {
    series: Arc<Series>,
    /// The series with the URL template, of the metrics whose conventions require it; `None` without a template.
    template_series: Option<Arc<Series>>,
    key: Key,
    /// Present only if body sizes are recorded; boxed to keep the state small otherwise.
    pub(super) sizes: Option<Box<BodySizes>>,
}

impl ClientState {
    #[inline]
    pub(super) fn new(
        (series, template_series): (Arc<Series>, Option<Arc<Series>>),
        key: Key,
        sizes: Option<Box<BodySizes>>,
    ) -> Self {
        Self { series, template_series, key, sizes }
    }

    /// Returns the series of all metrics but the duration, for which the template is opt-in.
    #[inline]
    fn template_series(&self) -> &Series {
        self.template_series.as_ref().unwrap_or(&self.series)
    }

    /// Sets the size of the request's body, if sizes are recorded.
    #[cfg(feature = "reqwest")]
    pub(crate) fn observe_request(&mut self, observe: impl FnOnce() -> RequestSize) {
        if let Some(sizes) = &mut self.sizes {
            sizes.set_request(observe());
        }
    }

    /// Returns true if the response's body is needed.
    #[cfg(feature = "reqwest")]
    pub(crate) fn observes_body(&self) -> bool {
        let http = self.http();
        http.end_on != EndOn::Head || http.end_on_by_response.is_some() || self.sizes.is_some()
    }

    #[cold]
    fn measure_sizes(&self, outcome: &Outcome, sizes: &BodySizes) {
        let sizes = sizes.measured(self.key.status.is_some());
        self.template_series().record_sizes(self.key, outcome, sizes);
    }

    #[inline]
    fn http(&self) -> &HttpOptions {
        &self.series.shared.http
    }
}

impl RequestObserver for ClientState {
    const PROTOCOL: Protocol = HTTP;

    #[inline]
    fn add_in_flight(&self, delta: i64) -> bool {
        self.template_series().in_flight(&self.key, delta)
    }

    fn outcome_if_dropped(&mut self) -> Outcome {
        match self.key.status {
            // Reading the body is optional.
            Some(status) => outcome::of_client(status),
            None => self.http().common.outcome_of_cancellation(Outcome::cancelled()),
        }
    }

    #[inline]
    fn on_response<B: Body>(&mut self, response: &Response<B>, span: Option<&RequestSpan<'_>>) -> EndsWith {
        let version = ProtocolVersion::from_version(response.version());
        let status = response.status();
        let http = &self.series.shared.http;
        if let Some(span) = span {
            if span.scope() != AttributeScope::Hooks {
                span.set_attributes([
                    KeyValue::new(STATUS_CODE, i64::from(status.as_u16())),
                    KeyValue::new(PROTOCOL_VERSION, version.as_str()),
                ]);
            }
            http.record_response_head(response, span);
        }
        self.key.status = Some(status);
        self.key.version = Some(version);
        if !http.end_on(response).is_head(response) {
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
        self.key.status.map_or_else(Outcome::ok, outcome::of_client)
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

    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        self.series.record_duration(self.key, outcome, elapsed);
        if let Some(sizes) = &self.sizes
            && !sizes.is_late()
        {
            self.measure_sizes(outcome, sizes);
        }
    }
}

/// The future of a recorded call.
pub type ClientFuture<F> = RequestFuture<F, ClientState>;

/// The body of a recorded call's response. The call ends with it if [`EndOn`](crate::EndOn) says so.
pub type ClientBody<B> = RequestBody<B, ClientState>;
