//! The layer type of both sides, with the options of HTTP that they share.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) for opt-in
//! attributes and configurable lists.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::KeyValue;
use otel_request::{CapturedHeaders, LayerOptions, Options, RequestHead, ResponseHead};

use crate::attributes::{REQUEST_HEADER, RESPONSE_HEADER};
use crate::config::{EndOn, HttpHead, HttpOptions};
use crate::instrumentation::{HttpInstrumentation, Side};
use crate::method::KnownMethods;

/// A layer that records HTTP requests: [`ServerLayer`](crate::ServerLayer) and [`ClientLayer`](crate::ClientLayer). The
/// options that name no protocol are methods of [`LayerOptions`].
#[derive(Debug)]
pub struct HttpLayer<S> {
    pub(crate) instrumentation: Arc<HttpInstrumentation<S>>,
}

impl<S> Clone for HttpLayer<S> {
    fn clone(&self) -> Self {
        Self { instrumentation: Arc::clone(&self.instrumentation) }
    }
}

impl<S: Side> Default for HttpLayer<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Side> LayerOptions for HttpLayer<S> {
    type Instrumentation = HttpInstrumentation<S>;

    fn with_options(self, edit: impl FnOnce(&mut Options<HttpHead>)) -> Self {
        self.edit(|http, _| edit(&mut http.common))
    }
}

impl<S: Side> HttpLayer<S> {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        Self::build(HttpOptions::new(S::END_ON), S::Options::default())
    }

    fn build(http: HttpOptions, options: S::Options) -> Self {
        Self { instrumentation: Arc::new(HttpInstrumentation::new(http, options)) }
    }

    pub(crate) fn edit(self, edit: impl FnOnce(&mut HttpOptions, &mut S::Options)) -> Self {
        let mut http = self.instrumentation.shared.http.clone();
        let mut options = self.instrumentation.side.options().clone();
        edit(&mut http, &mut options);
        Self::build(http, options)
    }

    /// Sets span names. `name` receives the request and its route or template. If it returns `None`, the span gets the
    /// name of the semantic conventions. Names must have a low cardinality: never use a path.
    #[must_use]
    pub fn with_span_name<F>(self, name: F) -> Self
    where
        F: Fn(&RequestHead<'_>, Option<&str>) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    {
        self.edit(|http, _| http.span_name = Some(Arc::new(name)))
    }

    /// Adds span attributes from the response. `attributes` runs once per response, only if the span records.
    #[must_use]
    pub fn with_response_attributes<F>(self, attributes: F) -> Self
    where
        F: Fn(&ResponseHead<'_>, &mut Vec<KeyValue>) + Send + Sync + 'static,
    {
        self.edit(|http, _| http.response_attributes = Some(Arc::new(attributes)))
    }

    /// Records these request headers as `http.request.header.NAME`. Default: none. At most 16 values per header are
    /// recorded, each truncated to 1,024 bytes. Do not list headers that carry secrets.
    #[must_use]
    pub fn with_request_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let captured = CapturedHeaders::new(REQUEST_HEADER, names);
        self.edit(|http, _| http.common.request_headers = captured)
    }

    /// Records these response headers as `http.response.header.NAME`. Default: none. The limits are those of
    /// [`with_request_headers`](Self::with_request_headers).
    #[must_use]
    pub fn with_response_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let captured = CapturedHeaders::new(RESPONSE_HEADER, names);
        self.edit(|http, _| http.common.response_headers = captured)
    }

    /// Replaces the list of known methods; others are recorded as `_OTHER`. Entries after the first 32 are ignored.
    /// Default: the list in `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, otherwise the methods of [RFC
    /// 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.3), PATCH and QUERY.
    #[must_use]
    pub fn with_known_methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
        let known = KnownMethods::new(methods);
        self.edit(|http, _| http.known_methods = known)
    }

    /// Sets the event that ends a span and its duration measurement.
    #[must_use]
    pub fn with_end_on(self, end_on: EndOn) -> Self {
        self.edit(|http, _| http.end_on = end_on)
    }

    /// Sets the event that ends the span of a response by its head, for long streams that are no event streams. `None` means
    /// the event of [`with_end_on`](Self::with_end_on).
    ///
    /// ```
    /// use otel_http::EndOn;
    /// let layer = otel_http::ServerLayer::new().with_end_on_by_response(|head| {
    ///     let kind = head.headers.get(http::header::CONTENT_TYPE)?;
    ///     (kind == "application/x-ndjson").then_some(EndOn::Head)
    /// });
    /// ```
    #[must_use]
    pub fn with_end_on_by_response<F>(self, end_on: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> Option<EndOn> + Send + Sync + 'static,
    {
        self.edit(|http, _| http.end_on_by_response = Some(Arc::new(end_on)))
    }

    /// Records body sizes as metrics. Default: `false`. The bytes are counted as they pass the layer; what a peer declares is
    /// not trusted. A response body that outlasts its span is recorded at its own end.
    ///
    /// A request body is counted if its type can be replaced: axum's with the feature `axum`, reqwest's with the feature
    /// `reqwest`. Of other types the size is the one that the body knows exactly, otherwise its `Content-Length`, up to 1 TiB.
    #[must_use]
    pub fn with_body_sizes(self, record: bool) -> Self {
        self.edit(|http, _| http.body_sizes = record)
    }
}
