//! The recording of a client call, at the response head or, by option, at the end of the response body.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client" and `http.client.request.duration`. A call that its caller drops is not an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use opentelemetry::KeyValue;
use otel_operation::Outcome;
use otel_request::{
    AttributeScope, EndsWith, Protocol, RequestBody, RequestFuture, RequestObserver, RequestSpan,
};

use super::instrumentation::HttpClient;
use crate::attributes::{PROTOCOL_VERSION, ProtocolVersion, STATUS_CODE};
use crate::config::EndOn;
use crate::exchange::{HTTP, content_length, is_event_stream};
use crate::instrumentation::HttpInstrumentation;
use crate::metrics::{Key, Series, Sizes};
use crate::outcome;

/// The state of a client call. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct ClientState {
    client: Arc<HttpInstrumentation<HttpClient>>,
    series: Arc<Series>,
    /// The series with the URL template, of the metrics whose conventions require it; `None` without a template.
    template_series: Option<Arc<Series>>,
    key: Key,
    end_on: EndOn,
    request_bytes: Option<u64>,
    response_bytes: Option<u64>,
}

impl ClientState {
    #[inline]
    pub(super) fn new(
        client: Arc<HttpInstrumentation<HttpClient>>,
        (series, template_series): (Arc<Series>, Option<Arc<Series>>),
        key: Key,
        request_bytes: Option<u64>,
    ) -> Self {
        let end_on = client.http.end_on;
        Self { client, series, template_series, key, end_on, request_bytes, response_bytes: None }
    }

    /// Returns the series of all metrics but the duration, for which the template is opt-in.
    #[inline]
    fn template_series(&self) -> &Series {
        self.template_series.as_ref().unwrap_or(&self.series)
    }

    /// Ends the call at its response's head whatever the option is, for a client whose bodies cannot be observed.
    #[cfg(feature = "reqwest")]
    pub(crate) fn end_at_head(&mut self) {
        self.end_on = EndOn::Head;
    }
}

impl RequestObserver for ClientState {
    const PROTOCOL: Protocol = HTTP;

    #[inline]
    fn add_in_flight(&self, delta: i64) -> bool {
        let Some(instruments) = self.client.instruments.get() else { return false };
        self.template_series().in_flight(instruments, &self.client.http.known_methods, &self.key, delta);
        true
    }

    fn outcome_if_dropped(&mut self) -> Outcome {
        Outcome::ok()
    }

    #[inline]
    fn on_response<B: Body>(&mut self, response: &Response<B>, span: Option<&RequestSpan<'_>>) -> EndsWith {
        let version = ProtocolVersion::from_version(response.version());
        let status = response.status();
        let http = &self.client.http;
        if let Some(span) = span {
            if span.scope() != AttributeScope::Hooks {
                span.set_attributes([
                    KeyValue::new(STATUS_CODE, i64::from(status.as_u16())),
                    KeyValue::new(PROTOCOL_VERSION, version.as_str()),
                ]);
            }
            http.record_response_head(response, span);
        }
        let ends_with_head = match self.end_on {
            EndOn::Head => true,
            EndOn::Body => status == StatusCode::SWITCHING_PROTOCOLS,
            EndOn::Auto => status == StatusCode::SWITCHING_PROTOCOLS || is_event_stream(response.headers()),
        };
        self.key.status = Some(status);
        self.key.version = Some(version);
        if http.body_sizes {
            self.response_bytes = if ends_with_head { content_length(response.headers()) } else { Some(0) };
        }
        if ends_with_head { EndsWith::Head } else { EndsWith::Body(content_length(response.headers())) }
    }

    #[inline]
    fn on_data<D: Buf>(&mut self, data: &D, _span: Option<&RequestSpan<'_>>) {
        if let Some(bytes) = &mut self.response_bytes {
            *bytes = bytes.saturating_add(data.remaining() as u64);
        }
    }

    #[inline]
    fn on_end(&mut self, _trailers: Option<&HeaderMap>) -> Outcome {
        self.key.status.map_or_else(Outcome::ok, outcome::of_client)
    }

    fn on_error<E: 'static>(&mut self, error: &E) -> Outcome {
        outcome::of_error(error)
    }

    #[inline]
    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        let Some(instruments) = self.client.instruments.get() else { return };
        let methods = &self.client.http.known_methods;
        self.series.record_duration(instruments, methods, self.key, outcome, elapsed);
        let sizes = Sizes { request: self.request_bytes, response: self.response_bytes };
        self.template_series().record_sizes(instruments, methods, self.key, outcome, sizes);
    }
}

/// The future of a recorded call.
pub type ClientFuture<F> = RequestFuture<F, ClientState>;

/// The body of a recorded call's response. The call ends with it if [`EndOn`] says so.
pub type ClientBody<B> = RequestBody<B, ClientState>;
