//! The options that both layers share, and the views of requests and responses passed to hooks.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) for opt-in
//! attributes and configurable lists.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::Response;
use http_body::Body;
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::catch_panic;
use otel_request::{AttributeScope, HeadView, Options, RequestHead, RequestSpan, ResponseHead};

use crate::exchange::is_event_stream;
use crate::method::KnownMethods;

/// The event that ends a span and its duration measurement.
///
/// The default is `Auto` for a [`ServerLayer`](crate::ServerLayer) and `Head` for a
/// [`ClientLayer`](crate::ClientLayer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOn {
    /// The end of the response body, including trailers. The response head if the response is an event stream
    /// (`text/event-stream`) or switches protocols, because the length of such a body is not the response time.
    #[default]
    Auto,
    /// The end of the response body, also for event streams. A response that switches protocols ends at its head.
    Body,
    /// The response head.
    Head,
}

impl EndOn {
    /// Returns true if the response ends the span with its head, as far as its content decides it. A response that has no
    /// body always ends with its head.
    pub(crate) fn is_head<B: Body>(self, response: &Response<B>) -> bool {
        match self {
            Self::Head => true,
            Self::Body => false,
            // A body of known length is no endless stream.
            Self::Auto => {
                response.body().size_hint().exact().is_none() && is_event_stream(response.headers())
            }
        }
    }
}

/// HTTP's hooks see the head as it is.
#[derive(Debug)]
pub enum HttpHead {}

impl HeadView for HttpHead {
    type View<'a> = RequestHead<'a>;

    #[inline]
    fn view<'a>(head: &RequestHead<'a>) -> RequestHead<'a> {
        *head
    }
}

pub(crate) type SpanNameHook =
    Arc<dyn Fn(&RequestHead<'_>, Option<&str>) -> Option<Cow<'static, str>> + Send + Sync>;
pub(crate) type EndOnHook = Arc<dyn Fn(&ResponseHead<'_>) -> Option<EndOn> + Send + Sync>;
pub(crate) type ResponseHook = Arc<dyn Fn(&ResponseHead<'_>, &mut Vec<KeyValue>) + Send + Sync>;

/// The options that the server and the client layer share.
#[derive(Clone)]
pub(crate) struct HttpOptions {
    pub(crate) common: Options<HttpHead>,
    pub(crate) span_name: Option<SpanNameHook>,
    pub(crate) response_attributes: Option<ResponseHook>,
    pub(crate) known_methods: KnownMethods,
    pub(crate) end_on: EndOn,
    pub(crate) end_on_by_response: Option<EndOnHook>,
    pub(crate) body_sizes: bool,
}

impl HttpOptions {
    pub(crate) fn new(end_on: EndOn) -> Self {
        Self {
            common: Options::new(),
            span_name: None,
            response_attributes: None,
            known_methods: KnownMethods::from_env(),
            end_on,
            end_on_by_response: None,
            body_sizes: false,
        }
    }

    /// Returns the name that the user's hook chooses, if there is one.
    #[inline]
    pub(crate) fn chosen_name(
        &self,
        head: &RequestHead<'_>,
        route: Option<&str>,
    ) -> Option<Cow<'static, str>> {
        let name = self.span_name.as_ref()?;
        catch_panic(|| name(head, route)).flatten()
    }

    /// Returns the event that ends the span of this response. A hook that panics decides nothing.
    #[inline]
    pub(crate) fn end_on<B>(&self, response: &Response<B>) -> EndOn {
        match &self.end_on_by_response {
            None => self.end_on,
            Some(hook) => ask(hook, &ResponseHead::new(response)).unwrap_or(self.end_on),
        }
    }

    /// Sets the captured response headers and the attributes of the response hook on a span.
    #[inline]
    pub(crate) fn record_response_head<B>(&self, response: &Response<B>, span: &RequestSpan<'_>) {
        if !self.common.response_headers.is_empty() || self.response_attributes.is_some() {
            self.add_response_attributes(response, span);
        }
    }

    fn add_response_attributes<B>(&self, response: &Response<B>, span: &RequestSpan<'_>) {
        let mut list = Vec::new();
        if span.scope() != AttributeScope::Hooks {
            self.common.response_headers.read(response.headers(), &mut list);
        }
        if let Some(hook) = &self.response_attributes {
            let _ = catch_panic(|| hook(&ResponseHead::new(response), &mut list));
        }
        if !list.is_empty() {
            span.set_attributes(list);
        }
    }
}

#[cold]
fn ask(hook: &EndOnHook, head: &ResponseHead<'_>) -> Option<EndOn> {
    catch_panic(|| hook(head)).flatten()
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("common", &self.common)
            .field("end_on", &self.end_on)
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
