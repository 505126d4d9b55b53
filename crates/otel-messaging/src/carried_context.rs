//! The context that a message carries, read once for all operations on the message.

use std::sync::OnceLock;

use opentelemetry::Context;

/// A place for the context that a received message carries. The headers are read at the first use.
#[derive(Clone, Debug, Default)]
pub struct CarriedContext(OnceLock<Context>);

impl CarriedContext {
    /// Creates an empty place.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub(crate) fn get(&self) -> Option<&Context> {
        self.0.get()
    }

    pub(crate) fn get_or_read(&self, read: impl FnOnce() -> Context) -> &Context {
        self.0.get_or_init(read)
    }
}
