//! The settings that the layers of all request-response transports share, and their hooks, isolated from panics.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::KeyValue;
use otel_operation::{Outcome, Providers, SamplerAttributes, catch_panic};
use otel_propagation::PropagatorHandle;

use crate::captured_headers::CapturedHeaders;
use crate::error_type::{DescriptionSettings, ErrorView, unclassified};
use crate::head::{HeadView, RequestHead};

type Predicate<V> = Arc<dyn for<'a> Fn(&<V as HeadView>::View<'a>) -> bool + Send + Sync>;
type Hook<V> = Arc<dyn for<'a> Fn(&<V as HeadView>::View<'a>, &mut Vec<KeyValue>) + Send + Sync>;
type ErrorTypeHook = Arc<dyn Fn(&ErrorView<'_>) -> Option<&'static str> + Send + Sync>;

/// The settings that all layers have. `V` is the form in which hooks see a request's head.
pub struct Options<V: HeadView> {
    /// The tracer and meter providers. Default: the global ones.
    pub providers: Providers,
    /// The propagator. Default: the global one.
    pub propagator: PropagatorHandle,
    /// The rule by which samplers receive attributes.
    pub sampler_attributes: SamplerAttributes,
    /// The request headers that are recorded. Default: none.
    pub request_headers: CapturedHeaders,
    /// The response headers that are recorded. Default: none.
    pub response_headers: CapturedHeaders,
    /// True if the owner of a request is written into its extensions, for layers that run on another task. Default: false.
    pub request_extension: bool,
    /// True if the span of a client's dropped call has the status Error. Default: true.
    pub cancellation_is_error: bool,
    filter: Option<Predicate<V>>,
    public_endpoint: Option<Predicate<V>>,
    request_attributes: Option<Hook<V>>,
    error_type: Option<ErrorTypeHook>,
    descriptions: DescriptionSettings,
}

impl<V: HeadView> Options<V> {
    /// Returns the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            providers: Providers::default(),
            propagator: PropagatorHandle::global(),
            sampler_attributes: SamplerAttributes::IfParentAllows,
            request_headers: CapturedHeaders::default(),
            response_headers: CapturedHeaders::default(),
            request_extension: false,
            cancellation_is_error: true,
            filter: None,
            public_endpoint: None,
            request_attributes: None,
            error_type: None,
            descriptions: DescriptionSettings::default(),
        }
    }

    /// Returns the outcome of a client's call that was dropped, from the one that its protocol gives.
    #[must_use]
    pub fn outcome_of_cancellation(&self, outcome: Outcome) -> Outcome {
        if self.cancellation_is_error { outcome } else { outcome.intended() }
    }

    /// Sets the filter: only requests for which it returns true are recorded.
    pub fn set_filter(&mut self, filter: impl for<'a> Fn(&V::View<'a>) -> bool + Send + Sync + 'static) {
        self.filter = Some(Arc::new(filter));
    }

    /// Makes the server a public endpoint for all requests, or for none.
    pub fn set_public_endpoint(&mut self, public: bool) {
        self.public_endpoint = public.then(|| Arc::new(|_: &V::View<'_>| true) as Predicate<V>);
    }

    /// Makes the server a public endpoint for requests for which `is_public` returns true.
    pub fn set_public_endpoint_if(
        &mut self,
        is_public: impl for<'a> Fn(&V::View<'a>) -> bool + Send + Sync + 'static,
    ) {
        self.public_endpoint = Some(Arc::new(is_public));
    }

    /// Sets the hook that adds attributes from a request's head.
    pub fn set_request_attributes(
        &mut self,
        attributes: impl for<'a> Fn(&V::View<'a>, &mut Vec<KeyValue>) + Send + Sync + 'static,
    ) {
        self.request_attributes = Some(Arc::new(attributes));
    }

    /// Sets the hook that classifies errors. If it returns `None`, the class is found by the types of the error's causes.
    pub fn set_error_type(
        &mut self,
        error_type: impl Fn(&ErrorView<'_>) -> Option<&'static str> + Send + Sync + 'static,
    ) {
        self.error_type = Some(Arc::new(error_type));
    }

    /// Enables or disables the descriptions of span statuses, by errors and by messages of the peer.
    pub fn set_status_description(&mut self, describe: bool) {
        self.descriptions.errors = describe;
        self.descriptions.messages = describe;
    }

    /// Enables the descriptions by messages of the peer alone: the default of a protocol that has them.
    pub fn set_message_description(&mut self) {
        self.descriptions.messages = true;
    }

    /// Sets the hook that removes secrets from the descriptions of span statuses.
    pub fn set_description_redaction(
        &mut self,
        redact: impl Fn(&str) -> Cow<'_, str> + Send + Sync + 'static,
    ) {
        self.descriptions.redaction = Some(Arc::new(redact));
    }

    /// Returns the `error.type` of an error, from the hook or from its class. `in_body` is true for an error within the
    /// response's body.
    #[must_use]
    pub fn error_type(&self, error: &ErrorView<'_>, in_body: bool) -> Option<&'static str> {
        self.chosen_error_type(error).or_else(|| {
            let class = error.class()?;
            Some(if in_body { class.in_body() } else { class }.as_str())
        })
    }

    /// Returns the `error.type` that the hook chooses, if there is one.
    #[must_use]
    pub fn chosen_error_type(&self, error: &ErrorView<'_>) -> Option<&'static str> {
        let hook = self.error_type.as_ref()?;
        catch_panic(|| hook(error)).flatten()
    }

    /// Returns the outcome of a request that failed with an error. Its `error.type` is the name of the error's type where
    /// neither the hook nor a class is known.
    #[must_use]
    pub fn error_outcome<E: 'static>(&self, error: &E, in_body: bool, is_recording: bool) -> Outcome {
        let error = ErrorView::new(error);
        let error_type = self.error_type(&error, in_body).unwrap_or_else(|| unclassified::<E>(&error));
        let outcome = Outcome::error(error_type);
        if is_recording { self.describe_error(outcome, &error, None) } else { outcome }
    }

    /// Adds a description to the outcome of an error, if errors are described: `own`, or the texts of the error and its
    /// causes. It has at most 1,024 bytes after the redaction.
    #[must_use]
    pub fn describe_error(&self, outcome: Outcome, error: &ErrorView<'_>, own: Option<&str>) -> Outcome {
        outcome.with_description(self.descriptions.of_error(error, own))
    }

    /// Returns a message of the peer as a description of at most 1,024 bytes, after the redaction. It is empty if messages are
    /// not recorded.
    #[must_use]
    pub fn description_from_message(&self, message: &str) -> Cow<'static, str> {
        self.descriptions.of_message(message)
    }

    /// Returns false for a request that the filter leaves out. A filter that panics leaves nothing out.
    #[inline]
    pub(crate) fn records(&self, head: &RequestHead<'_>) -> bool {
        match &self.filter {
            None => true,
            Some(filter) => catch_panic(|| filter(&V::view(head))).unwrap_or(true),
        }
    }

    /// Returns true for a request of an untrusted caller. A hook that panics makes its caller untrusted.
    #[inline]
    pub(crate) fn is_public(&self, head: &RequestHead<'_>) -> bool {
        match &self.public_endpoint {
            None => false,
            Some(is_public) => catch_panic(|| is_public(&V::view(head))).unwrap_or(true),
        }
    }

    /// Appends the captured request headers.
    #[inline]
    pub(crate) fn capture_request(&self, headers: &HeaderMap, list: &mut Vec<KeyValue>) {
        self.request_headers.read(headers, list);
    }

    /// Appends the attributes of the hook; those that it added before a panic stay.
    #[inline]
    pub(crate) fn add_request_attributes(&self, head: &RequestHead<'_>, list: &mut Vec<KeyValue>) {
        if let Some(hook) = &self.request_attributes {
            let _ = catch_panic(|| hook(&V::view(head), list));
        }
    }
}

impl<V: HeadView> Default for Options<V> {
    fn default() -> Self {
        Self::new()
    }
}

// Not derived: a derive would demand `V: Clone`.
impl<V: HeadView> Clone for Options<V> {
    fn clone(&self) -> Self {
        Self {
            providers: self.providers.clone(),
            propagator: self.propagator.clone(),
            sampler_attributes: self.sampler_attributes,
            request_headers: self.request_headers.clone(),
            response_headers: self.response_headers.clone(),
            request_extension: self.request_extension,
            cancellation_is_error: self.cancellation_is_error,
            filter: self.filter.clone(),
            public_endpoint: self.public_endpoint.clone(),
            request_attributes: self.request_attributes.clone(),
            error_type: self.error_type.clone(),
            descriptions: self.descriptions.clone(),
        }
    }
}

impl<V: HeadView> fmt::Debug for Options<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("providers", &self.providers)
            .field("propagator", &self.propagator)
            .field("sampler_attributes", &self.sampler_attributes)
            .field("request_extension", &self.request_extension)
            .finish_non_exhaustive()
    }
}
