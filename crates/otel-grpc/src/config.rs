//! The options that both layers share, and the view of a call passed to hooks.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Request, Uri};
use opentelemetry::InstrumentationScope;
use otel_request::{CapturedHeaders, HeadView, Options, RequestHead};

use crate::messages::MessageEvents;

/// The head of a call, as passed to filters and hooks.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallHead<'a> {
    /// The full name of the service: `package.Service`.
    pub service: &'a str,
    /// The method name, without the service.
    pub method: &'a str,
    /// The URI: absolute on a server, often only a path on a client.
    pub uri: &'a Uri,
    /// The metadata, as HTTP headers.
    pub headers: &'a HeaderMap,
    /// The request extensions, which other layers may have set.
    pub extensions: &'a Extensions,
}

impl<'a> CallHead<'a> {
    /// Borrows the head of a call's request; for unit tests of a hook.
    #[must_use]
    pub fn new<B>(request: &'a Request<B>) -> Self {
        GrpcHead::view(&RequestHead::new(request))
    }
}

/// Hooks of gRPC see the head of the call.
#[derive(Debug)]
pub enum GrpcHead {}

impl HeadView for GrpcHead {
    type View<'a> = CallHead<'a>;

    fn view<'a>(head: &RequestHead<'a>) -> CallHead<'a> {
        let (service, method) = split_path(head.uri);
        CallHead { service, method, uri: head.uri, headers: head.headers, extensions: head.extensions }
    }
}

fn split_path(uri: &Uri) -> (&str, &str) {
    let path = uri.path();
    let name = path.strip_prefix('/').unwrap_or(path);
    name.split_once('/').unwrap_or((name, ""))
}

/// The options that the server and the client layer share.
#[derive(Clone)]
pub struct GrpcOptions {
    pub(crate) common: Options<GrpcHead>,
    pub(crate) excluded_services: Arc<[Box<str>]>,
    /// Not a setting of `common`, because only the metadata of calls is recorded.
    pub(crate) request_metadata: CapturedHeaders,
    pub(crate) known_methods: Option<Arc<HashSet<Box<str>>>>,
    pub(crate) message_events: MessageEvents,
    pub(crate) max_message_events: u32,
    pub(crate) message_metrics: bool,
    pub(crate) active_calls: bool,
    pub(crate) max_untrusted_series: u32,
}

impl GrpcOptions {
    pub(crate) fn new() -> Self {
        let mut common = Options::new();
        // The conventions ask for the status message, which says more than the status.
        common.set_message_description();
        Self {
            common,
            excluded_services: Arc::from([]),
            request_metadata: CapturedHeaders::default(),
            known_methods: None,
            message_events: MessageEvents::Off,
            // The SDK's default limit of events per span.
            max_message_events: 128,
            message_metrics: false,
            active_calls: false,
            // Half of the SDK's default limit of series per metric.
            max_untrusted_series: 1_000,
        }
    }

    #[inline]
    pub(crate) fn excludes(&self, head: &RequestHead<'_>) -> bool {
        !self.excluded_services.is_empty() && {
            let (service, _) = split_path(head.uri);
            self.excluded_services.iter().any(|excluded| **excluded == *service)
        }
    }

    pub(crate) fn counts_messages(&self) -> bool {
        self.message_metrics || self.message_events != MessageEvents::Off
    }

    pub(crate) fn add_known_methods<'a>(&mut self, methods: impl IntoIterator<Item = &'a str>) {
        let known = self.known_methods.get_or_insert_default();
        Arc::make_mut(known).extend(methods.into_iter().map(Into::into));
    }
}

impl fmt::Debug for GrpcOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcOptions")
            .field("common", &self.common)
            .field("excluded_services", &self.excluded_services)
            .field("message_events", &self.message_events)
            .field("message_metrics", &self.message_metrics)
            .finish_non_exhaustive()
    }
}

/// Returns the instrumentation scope of this crate's tracers and meters.
pub(crate) fn scope() -> InstrumentationScope {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
    scope.with_schema_url(crate::attributes::SCHEMA_URL).build()
}

/// Creates an allow-list without binary metadata, whose values are not text.
pub(crate) fn captured_metadata<'a>(
    prefix: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> CapturedHeaders {
    let is_text = |name: &&str| !name.to_ascii_lowercase().ends_with("-bin");
    CapturedHeaders::new(prefix, names.into_iter().filter(is_text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_can_construct_the_argument_of_a_hook() {
        let request =
            Request::post("http://orders.internal/a.B/C").header("tenant", "acme").body(()).unwrap();
        let head = CallHead::new(&request);
        assert_eq!((head.service, head.method), ("a.B", "C"));
        assert_eq!(head.headers["tenant"], "acme");
    }
}
