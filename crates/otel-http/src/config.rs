//! What can be chosen: the options that both layers share, and the views that hooks are given.
//!
//! Follows the HTTP semantic conventions wherever an attribute is opt-in or a list can be replaced.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri, Version};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Array, InstrumentationScope, Key, KeyValue, StringValue, Value};
use otel_operation::{Instruments, SamplerInput, Tracer};
use otel_propagation::Propagation;

use crate::attributes::url::bounded;
use crate::method::KnownMethods;

/// A captured header's value is cut at this many bytes, and this many values of one header are kept.
const CAPTURED_BYTES: usize = 1024;
const CAPTURED_VALUES: usize = 16;

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

/// Makes a tracer for a scope: what is left of a provider when its type is gone.
type MakeTracer = Arc<dyn Fn(InstrumentationScope) -> Tracer + Send + Sync>;

/// The options that a server's and a client's layer share.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) propagation: Propagation,
    pub(crate) make_tracer: Option<MakeTracer>,
    pub(crate) meter_provider: Option<Arc<dyn MeterProvider + Send + Sync>>,
    pub(crate) filter: Option<Filter>,
    pub(crate) span_name: Option<SpanName>,
    pub(crate) on_request: Option<RequestHook>,
    pub(crate) on_response: Option<ResponseHook>,
    pub(crate) request_headers: Captured,
    pub(crate) response_headers: Captured,
    pub(crate) known_methods: KnownMethods,
    pub(crate) end_on: EndOn,
    pub(crate) sampler_input: SamplerInput,
    pub(crate) body_sizes: bool,
}

impl Options {
    pub(crate) fn new(end_on: EndOn) -> Self {
        Self {
            propagation: Propagation::global(),
            make_tracer: None,
            meter_provider: None,
            filter: None,
            span_name: None,
            on_request: None,
            on_response: None,
            request_headers: Captured::default(),
            response_headers: Captured::default(),
            known_methods: KnownMethods::from_env(),
            end_on,
            sampler_input: SamplerInput::Cheap,
            body_sizes: false,
        }
    }

    pub(crate) fn tracer(&self) -> Tracer {
        match &self.make_tracer {
            Some(make) => make(scope()),
            None => Tracer::global(scope()),
        }
    }

    pub(crate) fn instruments<I>(&self, create: fn(&Meter) -> I) -> Instruments<I> {
        match &self.meter_provider {
            Some(provider) => Instruments::new(Arc::clone(provider), scope(), create),
            None => Instruments::global(scope(), create),
        }
    }

    pub(crate) fn set_tracer_provider<P>(&mut self, provider: &P)
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        let provider = provider.clone();
        self.make_tracer = Some(Arc::new(move |scope| Tracer::new(&provider, scope)));
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("propagation", &self.propagation)
            .field("end_on", &self.end_on)
            .field("sampler_input", &self.sampler_input)
            .field("body_sizes", &self.body_sizes)
            .finish_non_exhaustive()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(crate::attributes::SCHEMA_URL)
        .build()
}

/// The headers of an allow-list, with the names of their attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured(Arc<[(HeaderName, Key)]>);

impl Captured {
    /// `prefix` is the attribute's name up to the header's. A name that no header can have captures nothing.
    pub(crate) fn new<'a>(prefix: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let with_key = |name: HeaderName| {
            let key = Key::from(format!("{prefix}.{name}"));
            (name, key)
        };
        Self(names.into_iter().filter_map(header).map(with_key).collect())
    }

    pub(crate) fn read(&self, headers: &HeaderMap, attributes: &mut Vec<KeyValue>) {
        for (name, key) in self.0.iter() {
            let values: Vec<StringValue> = headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .take(CAPTURED_VALUES)
                .map(|value| bounded(value, CAPTURED_BYTES).to_owned().into())
                .collect();
            if !values.is_empty() {
                attributes.push(KeyValue::new(key.clone(), Value::Array(Array::String(values))));
            }
        }
    }
}

/// The `with_*` methods that a server's and a client's layer share, for a type with `fn edit(self, …)`.
macro_rules! shared_options {
    () => {
        /// Takes spans from this provider in place of the global one.
        #[must_use]
        pub fn with_tracer_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::trace::TracerProvider + Clone + Send + Sync + 'static,
            P::Tracer: Send + Sync + 'static,
            <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
        {
            self.edit(|options| options.set_tracer_provider(provider))
        }

        /// Takes instruments from this provider in place of the global one.
        #[must_use]
        pub fn with_meter_provider<P>(self, provider: &P) -> Self
        where
            P: opentelemetry::metrics::MeterProvider + Clone + Send + Sync + 'static,
        {
            let provider = std::sync::Arc::new(provider.clone());
            self.edit(|options| options.meter_provider = Some(provider))
        }

        /// Reads and writes context with this propagator in place of the global one.
        #[must_use]
        pub fn with_propagator<P>(self, propagator: P) -> Self
        where
            P: opentelemetry::propagation::TextMapPropagator + Send + Sync + 'static,
        {
            self.edit(|options| options.propagation = otel_propagation::Propagation::new(propagator))
        }

        /// Records only requests for which `filter` answers true; all others pass untouched.
        #[must_use]
        pub fn with_filter<F>(self, filter: F) -> Self
        where
            F: Fn(&$crate::RequestHead<'_>) -> bool + Send + Sync + 'static,
        {
            self.edit(|options| options.filter = Some(std::sync::Arc::new(filter)))
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
            let captured = $crate::config::Captured::new("http.request.header", names);
            self.edit(|options| options.request_headers = captured)
        }

        /// Records these response headers as `http.response.header.NAME`; none by default. The bounds are those of
        /// [`with_request_headers`](Self::with_request_headers).
        #[must_use]
        pub fn with_response_headers<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = $crate::config::Captured::new("http.response.header", names);
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
