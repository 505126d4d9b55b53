//! What can be chosen: the options that both layers share, and the view that hooks are given.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/) wherever an
//! attribute is opt-in.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Request, Uri};
use opentelemetry::{InstrumentationScope, KeyValue};
use otel_operation::{CapturedHeaders, Providers, SamplerAttributes};
use otel_propagation::PropagatorHandle;

use crate::messages::MessageEvents;

/// A call's head, as filters and hooks see it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallHead<'a> {
    /// The service's full name: `package.Service`.
    pub service: &'a str,
    /// The method's name.
    pub method: &'a str,
    /// The URI: absolute on a server, often only a path on a client.
    pub uri: &'a Uri,
    /// The metadata, which is HTTP's headers.
    pub headers: &'a HeaderMap,
    /// What other layers attached to the request.
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

/// The options that a server's and a client's layer share.
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
            // The SDK's default limit for a span.
            most_events: 128,
            message_metrics: false,
            sampler_attributes: SamplerAttributes::IfParentAllows,
        }
    }

    /// Whether this call is recorded at all.
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

/// The allow-list without binary metadata, whose values are not text.
pub(crate) fn captured<'a>(prefix: &str, names: impl IntoIterator<Item = &'a str>) -> CapturedHeaders {
    let is_text = |name: &&str| !name.to_ascii_lowercase().ends_with("-bin");
    CapturedHeaders::new(prefix, names.into_iter().filter(is_text))
}

/// The `with_*` methods that a server's and a client's layer share, for a type with `fn edit(self, …)`.
macro_rules! shared_options {
    () => {
        otel_operation::provider_options!();

        /// Records only calls for which `filter` answers true; all others pass untouched.
        #[must_use]
        pub fn with_filter<F>(self, filter: F) -> Self
        where
            F: Fn(&$crate::CallHead<'_>) -> bool + Send + Sync + 'static,
        {
            self.edit(|options| options.filter = Some(std::sync::Arc::new(filter)))
        }

        /// Records no calls of these services, such as `grpc.health.v1.Health` and `grpc.reflection.v1.ServerReflection`;
        /// they pass untouched.
        #[must_use]
        pub fn with_excluded_services<'a>(self, services: impl IntoIterator<Item = &'a str>) -> Self {
            let services = services.into_iter().map(Box::from).collect();
            self.edit(|options| options.excluded = services)
        }

        /// Says which methods there are, as `package.Service/Method`: all others are recorded as `_OTHER`. May be
        /// called several times.
        #[must_use]
        pub fn with_known_methods<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
            self.edit(|options| options.add_known_methods(methods))
        }

        /// Adds the methods of an encoded file descriptor set to those that are
        /// [known](Self::with_known_methods): of the one that tonic-build writes and tonic-reflection serves.
        ///
        /// # Errors
        /// What makes it no file descriptor set.
        #[cfg(feature = "prost-types")]
        pub fn with_file_descriptor_set(self, encoded: &[u8]) -> Result<Self, prost::DecodeError> {
            let methods = $crate::method::of_descriptors(encoded)?;
            Ok(self.edit(|options| options.add_known_methods(methods)))
        }

        /// Adds attributes to a span out of its call. Runs once a call, and only where a span records or a sampler looks
        /// at it.
        #[must_use]
        pub fn with_call_attributes<F>(self, attributes: F) -> Self
        where
            F: Fn(&$crate::CallHead<'_>, &mut Vec<opentelemetry::KeyValue>) + Send + Sync + 'static,
        {
            self.edit(|options| options.on_call = Some(std::sync::Arc::new(attributes)))
        }

        /// Records this metadata of requests as `rpc.request.metadata.NAME`; none by default. At most 16 values a
        /// name, each cut at 1,024 bytes, and never binary metadata (`-bin`). Do not list what carries secrets.
        #[must_use]
        pub fn with_request_metadata<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = $crate::config::captured($crate::attributes::REQUEST_METADATA, names);
            self.edit(|options| options.request_metadata = captured)
        }

        /// Records this metadata of replies as `rpc.response.metadata.NAME`, of their heads and not of their trailers;
        /// none by default. The bounds are those of [`with_request_metadata`](Self::with_request_metadata).
        #[must_use]
        pub fn with_response_metadata<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
            let captured = $crate::config::captured($crate::attributes::RESPONSE_METADATA, names);
            self.edit(|options| options.response_metadata = captured)
        }

        /// Chooses what spans are told of a call's messages; nothing by default.
        #[must_use]
        pub fn with_message_events(self, events: $crate::MessageEvents) -> Self {
            self.edit(|options| options.message_events = events)
        }

        /// Bounds the events of [`MessageEvents::Each`](crate::MessageEvents::Each) that one span is told; 128 by default.
        #[must_use]
        pub fn with_max_message_events(self, most: u32) -> Self {
            self.edit(|options| options.most_events = most)
        }

        /// Records the sizes (bytes on the wire, without their prefixes) and numbers of a call's messages as metrics.
        #[must_use]
        pub fn with_message_metrics(self, record: bool) -> Self {
            self.edit(|options| options.message_metrics = record)
        }

        /// Chooses whether samplers are given attributes also under a parent that is not sampled.
        #[must_use]
        pub fn with_sampler_attributes(self, input: $crate::SamplerAttributes) -> Self {
            self.edit(|options| options.sampler_attributes = input)
        }
    };
}
pub(crate) use shared_options;
