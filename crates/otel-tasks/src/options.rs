//! The options of an instrumentation of tasks and channels.
//!
//! Follows the [library guidelines of the OpenTelemetry
//! specification](https://opentelemetry.io/docs/specs/otel/library-guidelines/): the global providers by default,
//! others on request.

use std::fmt;
use std::sync::Arc;

use otel_operation::{ParentMode, Providers, SamplerAttributes, catch_panic};

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The options of a [`TaskInstrumentation`](crate::TaskInstrumentation). Default: the global providers, which are looked up
/// at first use and can therefore be set later.
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) providers: Providers,
    pub(crate) sampler_attributes: SamplerAttributes,
    pub(crate) parent_mode: ParentMode,
    filter: Option<Filter>,
}

impl Options {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    otel_operation::with_providers!();

    /// Sets the parent of the spans that process the items of channels. Default: [`ParentMode::ProducerIfNoAmbient`].
    #[must_use]
    pub fn with_parent_mode(mut self, mode: ParentMode) -> Self {
        self.parent_mode = mode;
        self
    }

    /// Sets when samplers receive attributes. Default: [`SamplerAttributes::IfParentAllows`], which omits them under an
    /// unsampled parent.
    #[must_use]
    pub fn with_sampler_attributes(mut self, input: SamplerAttributes) -> Self {
        self.sampler_attributes = input;
        self
    }

    /// Records only spans, tasks and channels for whose name `filter` returns true. The others carry the context on and
    /// record nothing. A filter that panics leaves nothing out.
    #[must_use]
    pub fn with_filter<F>(mut self, filter: F) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.filter = Some(Arc::new(filter));
        self
    }

    pub(crate) fn is_recorded(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| catch_panic(|| filter(name)).unwrap_or(true))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("providers", &self.providers)
            .field("sampler_attributes", &self.sampler_attributes)
            .field("parent_mode", &self.parent_mode)
            .field("filter", &self.filter.is_some())
            .finish()
    }
}
