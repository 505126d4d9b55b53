//! What can be chosen: the options that both layers share, and the views that hooks are given.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) wherever an
//! attribute is opt-in or a list can be replaced.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::{CapturedHeaders, Providers, SamplerInput, is_grpc};
use otel_propagation::PropagatorHandle;

use crate::method::KnownMethods;

/// When a span, and the duration that goes with it, ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOn {
    /// At the end of the response's body, trailers included; at its head where the response is an event stream
    /// (`text/event-stream`) or switches protocols, since such a body says nothing of how long an answer took.
    #[default]
    Auto,
    /// At the end of the response's body, whatever it is.
    Body,
    /// As soon as the response's head is there.
    Head,
}

/// A request's head, as filters and hooks see it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method, as it came.
    pub method: &'a Method,
    /// The URI: absolute or only a path, as HTTP's version and side have it.
    pub uri: &'a Uri,
    /// The version.
    pub version: Version,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What other layers attached to the request.
    pub extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// A response's head, as hooks see it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The version.
    pub version: Version,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What other layers attached to the response.
    pub extensions: &'a Extensions,
}

impl<'a> ResponseHead<'a> {
    pub(crate) fn of<B>(response: &'a Response<B>) -> Self {
        Self {
            status: response.status(),
            version: response.version(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }
}

pub(crate) type Filter = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;
pub(crate) type SpanName =
    Arc<dyn Fn(&RequestHead<'_>, Option<&str>) -> Option<Cow<'static, str>> + Send + Sync>;
pub(crate) type RequestHook = Arc<dyn Fn(&RequestHead<'_>, &mut Vec<KeyValue>) + Send + Sync>;
pub(crate) type ResponseHook = Arc<dyn Fn(&ResponseHead<'_>, &mut Vec<KeyValue>) + Send + Sync>;

/// The options that a server's and a client's layer share.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) propagation: PropagatorHandle,
    pub(crate) providers: Providers,
    pub(crate) filter: Option<Filter>,
    pub(crate) span_name: Option<SpanName>,
    pub(crate) on_request: Option<RequestHook>,
    pub(crate) on_response: Option<ResponseHook>,
    pub(crate) request_headers: CapturedHeaders,
    pub(crate) response_headers: CapturedHeaders,
    pub(crate) known_methods: KnownMethods,
    pub(crate) end_on: EndOn,
    pub(crate) sampler_input: SamplerInput,
    pub(crate) body_sizes: bool,
    pub(crate) grpc: bool,
}

impl Options {
    pub(crate) fn new(end_on: EndOn) -> Self {
        Self {
            propagation: PropagatorHandle::global(),
            providers: Providers::default(),
            filter: None,
            span_name: None,
            on_request: None,
            on_response: None,
            request_headers: CapturedHeaders::default(),
            response_headers: CapturedHeaders::default(),
            known_methods: KnownMethods::from_env(),
            end_on,
            sampler_input: SamplerInput::Cheap,
            body_sizes: false,
            grpc: false,
        }
    }
}

impl Options {
    /// Whether this request is recorded here at all.
    pub(crate) fn records(&self, head: &RequestHead<'_>) -> bool {
        (self.grpc || !is_grpc(head.headers)) && self.filter.as_ref().is_none_or(|filter| filter(head))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("propagation", &self.propagation)
            .field("providers", &self.providers)
            .field("end_on", &self.end_on)
            .field("sampler_input", &self.sampler_input)
            .field("body_sizes", &self.body_sizes)
            .finish_non_exhaustive()
    }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(crate::attributes::SCHEMA_URL)
        .build()
}

/// The `with_*` methods that a server's and a client's layer share, for a type with `fn edit(self, …)`.
macro_rules! shared_options {
    () => {
        otel_operation::provider_options!();

        /// Records only requests for which `filter` answers true; all others pass untouched.
        #[must_use]
        pub fn with_filter<F>(self, filter: F) -> Self
        where
            F: Fn(&$crate::RequestHead<'_>) -> bool + Send + Sync + 'static,
        {
            self.edit(|options| options.filter = Some(std::sync::Arc::new(filter)))
        }

        /// Records gRPC calls as HTTP too. By default they pass untouched, to be recorded once, by otel-grpc's layers:
        /// requests with a content type that begins with `application/grpc`.
        #[must_use]
        pub fn with_grpc(self, record: bool) -> Self {
            self.edit(|options| options.grpc = record)
        }

        /// Names spans. `name` sees the request and its route or template; where it answers `None`, the
        /// conventions' name is used. A name must come out of a small set: never put a path into it.
        #[must_use]
        pub fn with_span_name<F>(self, name: F) -> Self
        where
            F: Fn(&$crate::RequestHead<'_>, Option<&str>) -> Option<std::borrow::Cow<'static, str>>
                + Send
                + Sync
                + 'static,
        {
            self.edit(|options| options.span_name = Some(std::sync::Arc::new(name)))
        }

        /// Adds attributes to a span out of its request. Runs once a request, and only where a span records or a
        /// sampler looks at it.
        #[must_use]
        pub fn with_request_attributes<F>(self, attributes: F) -> Self
        where
            F: Fn(&$crate::RequestHead<'_>, &mut Vec<opentelemetry::KeyValue>) + Send + Sync + 'static,
        {
            self.edit(|options| options.on_request = Some(std::sync::Arc::new(attributes)))
        }

        /// Adds attributes to a span out of its response. Runs once a response, and only where the span records.
        #[must_use]
        pub fn with_response_attributes<F>(self, attributes: F) -> Self
        where
            F: Fn(&$crate::ResponseHead<'_>, &mut Vec<opentelemetry::KeyValue>) + Send + Sync + 'static,
        {
            self.edit(|options| options.on_response = Some(std::sync::Arc::new(attributes)))
        }

        /// Records these request headers as `http.request.header.NAME`; none by default. At most 16 values a
        /// header, each cut at 1,024 bytes. Do not list what carries secrets.
        #[must_use]
        pub fn with_request_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = otel_operation::CapturedHeaders::new($crate::attributes::REQUEST_HEADER, names);
            self.edit(|options| options.request_headers = captured)
        }

        /// Records these response headers as `http.response.header.NAME`; none by default. The bounds are those of
        /// [`with_request_headers`](Self::with_request_headers).
        #[must_use]
        pub fn with_response_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = otel_operation::CapturedHeaders::new($crate::attributes::RESPONSE_HEADER, names);
            self.edit(|options| options.response_headers = captured)
        }

        /// Replaces the list of known methods; all others are recorded as `_OTHER`. At most 32 are kept. Without
        /// this, `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` or else RFC 9110's, PATCH and QUERY are known.
        #[must_use]
        pub fn with_known_methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
            let known = $crate::method::KnownMethods::new(methods);
            self.edit(|options| options.known_methods = known)
        }

        /// Chooses when a span and its duration end.
        #[must_use]
        pub fn with_end_on(self, end_on: $crate::EndOn) -> Self {
            self.edit(|options| options.end_on = end_on)
        }

        /// Chooses whether samplers are given attributes also under a parent that is not sampled.
        #[must_use]
        pub fn with_sampler_input(self, input: $crate::SamplerInput) -> Self {
            self.edit(|options| options.sampler_input = input)
        }

        /// Records the sizes of bodies, in bytes, as metrics: a request's from its `Content-Length`, a response's as
        /// counted where the span lasts as long as the body, else from its `Content-Length`.
        #[must_use]
        pub fn with_body_sizes(self, record: bool) -> Self {
            self.edit(|options| options.body_sizes = record)
        }
    };
}
pub(crate) use shared_options;
