//! The `with_*` methods that the layers of all transports have.

use std::borrow::Cow;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer, TracerProvider};
use otel_operation::SamplerAttributes;
use otel_propagation::PropagatorHandle;

use crate::client::ClientInstrumentation;
use crate::error_type::ErrorView;
use crate::head::HeadView;
use crate::instrumentation::Instrumentation;
use crate::options::Options;
use crate::server::ServerInstrumentation;

/// The form in which the hooks of a layer see a request's head.
type View<'a, L> = <<<L as LayerOptions>::Instrumentation as Instrumentation>::View as HeadView>::View<'a>;

/// The options of a layer that name no protocol. Import it to call them.
pub trait LayerOptions: Sized {
    /// The instrumentation that the services of the layer share.
    type Instrumentation: Instrumentation;

    /// Returns the layer with edited settings. The methods below are the ways to call it.
    #[must_use]
    fn with_options(
        self,
        edit: impl FnOnce(&mut Options<<Self::Instrumentation as Instrumentation>::View>),
    ) -> Self;

    /// Records spans into this provider instead of the global one.
    #[must_use]
    fn with_tracer_provider<P>(self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.with_options(|options| options.providers.set_tracer_provider(provider))
    }

    /// Records metrics into this provider instead of the global one.
    #[must_use]
    fn with_meter_provider<P>(self, provider: &P) -> Self
    where
        P: MeterProvider + Clone + Send + Sync + 'static,
    {
        self.with_options(|options| options.providers.set_meter_provider(provider))
    }

    /// Reads and writes context with this propagator instead of the global one.
    #[must_use]
    fn with_propagator<P>(self, propagator: P) -> Self
    where
        P: TextMapPropagator + Send + Sync + 'static,
    {
        self.with_options(|options| options.propagator = PropagatorHandle::new(propagator))
    }

    /// Records only requests for which `filter` returns `true`. Others have no span and no metrics; their trace continues:
    /// a server's request runs in its caller's context, a client's carries the current one.
    #[must_use]
    fn with_filter<F>(self, filter: F) -> Self
    where
        F: for<'a> Fn(&View<'a, Self>) -> bool + Send + Sync + 'static,
    {
        self.with_options(|options| options.set_filter(filter))
    }

    /// Adds span attributes from the request. `attributes` runs at most once per request, only if the sampler receives
    /// attributes or the span records.
    #[must_use]
    fn with_request_attributes<F>(self, attributes: F) -> Self
    where
        F: for<'a> Fn(&View<'a, Self>, &mut Vec<KeyValue>) + Send + Sync + 'static,
    {
        self.with_options(|options| options.set_request_attributes(attributes))
    }

    /// Sets the rule by which samplers receive attributes under an unsampled parent. Default:
    /// [`SamplerAttributes::IfParentAllows`].
    #[must_use]
    fn with_sampler_attributes(self, attributes: SamplerAttributes) -> Self {
        self.with_options(|options| options.sampler_attributes = attributes)
    }

    /// Sets the `error.type` of errors. `error_type` runs once for each error of a service or a body; where it returns
    /// `None`, the class is found by the types of the error and its causes ([`ErrorClass`](crate::ErrorClass)). The value
    /// becomes a metric attribute: return a name from a short list, never text.
    ///
    /// A gRPC call keeps its status; only `error.type` changes.
    #[must_use]
    fn with_error_type<F>(self, error_type: F) -> Self
    where
        F: Fn(&ErrorView<'_>) -> Option<&'static str> + Send + Sync + 'static,
    {
        self.with_options(|options| options.set_error_type(error_type))
    }

    /// Describes the status of a span that failed: by the texts of the error and its causes, and for gRPC by the status
    /// message of the response. Default: the status message alone. A description has at most 1,024 bytes. Texts may contain
    /// secrets: see [`with_description_redaction`](Self::with_description_redaction).
    ///
    /// Follows the [general conventions for recording
    /// errors](https://opentelemetry.io/docs/specs/semconv/general/recording-errors/), "Recording errors on spans".
    #[must_use]
    fn with_status_description(self, describe: bool) -> Self {
        self.with_options(|options| options.set_status_description(describe))
    }

    /// Edits each description of a span's status before it is recorded. `redact` receives at most 4,096 bytes of the text. If it
    /// panics, the span has no description.
    #[must_use]
    fn with_description_redaction<F>(self, redact: F) -> Self
    where
        F: Fn(&str) -> Cow<'_, str> + Send + Sync + 'static,
    {
        self.with_options(|options| options.set_description_redaction(redact))
    }

    /// Writes the owner of a request's span into the request's extensions. Default: `false`. Set it on the outer of two
    /// layers if a `tower::buffer` or a spawned task is directly around the inner one, which is then called on another task
    /// and would start a second span.
    #[must_use]
    fn with_request_extension(self, extension: bool) -> Self {
        self.with_options(|options| options.request_extension = extension)
    }

    /// Sets the span status of a call whose future is dropped before its response. Default: `true`, Error, because a call that
    /// a time-out of the caller ended is dropped in the same way. Set it to `false` for a client whose calls are hedged: the
    /// status stays unset. `error.type` names the cancellation in both cases, so that the call never counts as a success.
    #[must_use]
    fn with_cancellation_as_error(self, is_error: bool) -> Self
    where
        Self::Instrumentation: ClientInstrumentation,
    {
        self.with_options(|options| options.cancellation_is_error = is_error)
    }

    /// Treats the callers of a server as untrusted: their span context becomes a link instead of the parent, and their
    /// baggage is dropped, as are headers that a
    /// [`PassThroughPropagator`](otel_propagation::PassThroughPropagator) would pass on. Default: `false`.
    #[must_use]
    fn with_public_endpoint(self, public: bool) -> Self
    where
        Self::Instrumentation: ServerInstrumentation,
    {
        self.with_options(|options| options.set_public_endpoint(public))
    }

    /// Treats the callers of those requests as untrusted for which `is_public` returns `true`. See
    /// [`with_public_endpoint`](Self::with_public_endpoint).
    #[must_use]
    fn with_public_endpoint_if<F>(self, is_public: F) -> Self
    where
        Self::Instrumentation: ServerInstrumentation,
        F: for<'a> Fn(&View<'a, Self>) -> bool + Send + Sync + 'static,
    {
        self.with_options(|options| options.set_public_endpoint_if(is_public))
    }
}
