//! The errors of registries and of calls that found no endpoint.
//!
//! Follows [tower's layers](https://docs.rs/tower/latest/tower/timeout/struct.Timeout.html), whose error type is a boxed one.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

/// The error type of a [`Balance`](crate::Balance): a [`NoEndpoints`], or the endpoint's own error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The `error.type` of a call that found no endpoint.
pub(crate) const NO_ENDPOINTS: &str = "no_endpoints";

/// The `error.type` of code of the program that panicked.
pub(crate) const PANIC: &str = "panic";

/// A failed request to a registry.
#[derive(Clone, Debug, thiserror::Error)]
#[error("registry {registry}: cannot {operation} service {service}: {source}")]
pub struct RegistryError {
    registry: Cow<'static, str>,
    operation: &'static str,
    service: String,
    error_type: &'static str,
    source: Arc<dyn Error + Send + Sync>,
}

impl RegistryError {
    /// Creates an error. `operation` is a verb, such as `watch`; `error_type` is of a small set, because it is an attribute of
    /// metrics.
    #[must_use]
    pub fn new(
        registry: impl Into<Cow<'static, str>>,
        operation: &'static str,
        service: &str,
        error_type: &'static str,
        source: impl Into<BoxError>,
    ) -> Self {
        let (registry, service) = (registry.into(), service.to_owned());
        Self { registry, operation, service, error_type, source: source.into().into() }
    }

    /// Creates the error of a registry that has no such operation.
    #[must_use]
    pub fn unsupported(registry: &'static str, operation: &'static str, service: &str) -> Self {
        Self::new(registry, operation, service, "unsupported", "this kind of registry has no such operation")
    }

    /// Returns the `error.type` of spans and metrics.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        self.error_type
    }
}

/// The error of a call for whose service no endpoint is known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no endpoint of service {service} is known; registry {registry}: {reason}")]
pub struct NoEndpoints {
    pub(crate) registry: &'static str,
    pub(crate) service: Arc<str>,
    /// The last error of the registry, or the state of the look-up.
    pub(crate) reason: Arc<str>,
}

impl NoEndpoints {
    /// Returns the name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns the kind of the registry, such as `consul`.
    #[must_use]
    pub fn registry(&self) -> &'static str {
        self.registry
    }

    /// Returns the `error.type`, for a hook of a client layer: `no_endpoints`.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        NO_ENDPOINTS
    }

    /// Returns the first of these errors among an error and its causes, at most 32 of them.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        otel_request::ErrorView::from_error(error).find::<Self>()
    }
}
