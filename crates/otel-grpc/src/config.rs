//! The options that both layers share, and the view of a call passed to hooks.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/) for opt-in
//! attributes.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Request, Uri};
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::{Providers, SamplerAttributes};
use otel_propagation::PropagatorHandle;
use otel_request::CapturedHeaders;

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
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        let path = request.uri().path();
        let name = path.strip_prefix('/').unwrap_or(path);
        let (service, method) = name.split_once('/').unwrap_or((name, ""));
        Self {
            service,
            method,
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

pub(crate) type Filter = Arc<dyn Fn(&CallHead<'_>) -> bool + Send + Sync>;
pub(crate) type CallHook = Arc<dyn Fn(&CallHead<'_>, &mut Vec<KeyValue>) + Send + Sync>;

/// The options shared by the server and client layers.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) propagation: PropagatorHandle,
    pub(crate) providers: Providers,
    pub(crate) filter: Option<Filter>,
    pub(crate) excluded: Arc<[Box<str>]>,
    pub(crate) on_call: Option<CallHook>,
    pub(crate) request_metadata: CapturedHeaders,
    pub(crate) response_metadata: CapturedHeaders,
    pub(crate) known_methods: Option<Arc<HashSet<Box<str>>>>,
    pub(crate) message_events: MessageEvents,
    pub(crate) most_events: u32,
    pub(crate) message_metrics: bool,
    pub(crate) sampler_attributes: SamplerAttributes,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self {
            propagation: PropagatorHandle::global(),
            providers: Providers::default(),
            filter: None,
            excluded: Arc::from([]),
            on_call: None,
            request_metadata: CapturedHeaders::default(),
            response_metadata: CapturedHeaders::default(),
            known_methods: None,
            message_events: MessageEvents::Off,
            // The SDK's default limit of events per span.
            most_events: 128,
            message_metrics: false,
            sampler_attributes: SamplerAttributes::IfParentAllows,
        }
    }

    /// Returns `true` if the filter and the excluded services allow this call to be recorded.
    pub(crate) fn records(&self, head: &CallHead<'_>) -> bool {
        !self.excluded.iter().any(|service| **service == *head.service)
            && self.filter.as_ref().is_none_or(|filter| filter(head))
    }

    pub(crate) fn counts_messages(&self) -> bool {
        self.message_metrics || self.message_events != MessageEvents::Off
    }

    pub(crate) fn add_known_methods<N: Into<Box<str>>>(&mut self, methods: impl IntoIterator<Item = N>) {
        let known = self.known_methods.get_or_insert_default();
        Arc::make_mut(known).extend(methods.into_iter().map(Into::into));
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("propagation", &self.propagation)
            .field("providers", &self.providers)
            .field("excluded", &self.excluded)
            .field("message_events", &self.message_events)
            .field("message_metrics", &self.message_metrics)
            .field("sampler_attributes", &self.sampler_attributes)
            .finish_non_exhaustive()
    }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(crate::attributes::SCHEMA_URL)
        .build()
}

/// Creates an allow-list without binary metadata, whose values are not text.
pub(crate) fn captured<'a>(prefix: &str, names: impl IntoIterator<Item = &'a str>) -> CapturedHeaders {
    let is_text = |name: &&str| !name.to_ascii_lowercase().ends_with("-bin");
    CapturedHeaders::new(prefix, names.into_iter().filter(is_text))
}

/// Generates the `with_*` methods shared by the server and client layers, for a type with a method `edit(self, …)`.
macro_rules! shared_options {
    () => {
        otel_operation::provider_options!();

        /// Records only calls for which `filter` returns `true`. Others pass through without a span, metrics or
        /// context propagation.
        #[must_use]
        pub fn with_filter<F>(self, filter: F) -> Self
        where
            F: Fn(&$crate::CallHead<'_>) -> bool + Send + Sync + 'static,
        {
            self.edit(|options| options.filter = Some(std::sync::Arc::new(filter)))
        }

        /// Excludes the calls of these services, such as `grpc.health.v1.Health` and
        /// `grpc.reflection.v1.ServerReflection`: they pass through like calls rejected by
        /// [`with_filter`](Self::with_filter).
        #[must_use]
        pub fn with_excluded_services<'a>(self, services: impl IntoIterator<Item = &'a str>) -> Self {
            let services = services.into_iter().map(Box::from).collect();
            self.edit(|options| options.excluded = services)
        }

        /// Adds to the list of known methods, as `package.Service/Method`. Methods outside of the list are recorded
        /// as `_OTHER`.
        #[must_use]
        pub fn with_known_methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
            self.edit(|options| options.add_known_methods(methods))
        }

        /// Adds the methods of an encoded file descriptor set, which tonic-build writes and tonic-reflection serves,
        /// to the [known methods](Self::with_known_methods).
        ///
        /// # Errors
        /// Returns an error if `encoded` is not a valid file descriptor set.
        #[cfg(feature = "prost-types")]
        pub fn with_file_descriptor_set(self, encoded: &[u8]) -> Result<Self, prost::DecodeError> {
            let methods = $crate::method::of_descriptors(encoded)?;
            Ok(self.edit(|options| options.add_known_methods(methods)))
        }

        /// Adds span attributes from the head of the call. `attributes` runs at most once per call, only if the
        /// sampler receives attributes or the span records.
        #[must_use]
        pub fn with_call_attributes<F>(self, attributes: F) -> Self
        where
            F: Fn(&$crate::CallHead<'_>, &mut Vec<opentelemetry::KeyValue>) + Send + Sync + 'static,
        {
            self.edit(|options| options.on_call = Some(std::sync::Arc::new(attributes)))
        }

        /// Records this request metadata as `rpc.request.metadata.NAME`. Default: none. At most 16 values per key are
        /// recorded, each truncated to 1,024 bytes, and no binary metadata (`-bin`). Do not list keys that carry
        /// secrets.
        #[must_use]
        pub fn with_request_metadata<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = $crate::config::captured($crate::attributes::REQUEST_METADATA, names);
            self.edit(|options| options.request_metadata = captured)
        }

        /// Records this response metadata as `rpc.response.metadata.NAME`, from the headers and not from the
        /// trailers. Default: none. The limits are those of [`with_request_metadata`](Self::with_request_metadata).
        #[must_use]
        pub fn with_response_metadata<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = $crate::config::captured($crate::attributes::RESPONSE_METADATA, names);
            self.edit(|options| options.response_metadata = captured)
        }

        /// Sets the recording of messages on spans. Default: [`MessageEvents::Off`](crate::MessageEvents::Off).
        #[must_use]
        pub fn with_message_events(self, events: $crate::MessageEvents) -> Self {
            self.edit(|options| options.message_events = events)
        }

        /// Limits the events of [`MessageEvents::Each`](crate::MessageEvents::Each) per span. Default: 128.
        #[must_use]
        pub fn with_max_message_events(self, most: u32) -> Self {
            self.edit(|options| options.most_events = most)
        }

        /// Records the sizes (bytes on the wire, without prefixes) and numbers of a call's messages as metrics.
        /// Default: `false`.
        #[must_use]
        pub fn with_message_metrics(self, record: bool) -> Self {
            self.edit(|options| options.message_metrics = record)
        }

        /// Sets the rule by which samplers receive attributes under an unsampled parent. Default:
        /// [`SamplerAttributes::IfParentAllows`](crate::SamplerAttributes::IfParentAllows).
        #[must_use]
        pub fn with_sampler_attributes(self, input: $crate::SamplerAttributes) -> Self {
            self.edit(|options| options.sampler_attributes = input)
        }
    };
}
pub(crate) use shared_options;
