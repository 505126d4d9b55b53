//! The part of an instrumentation that servers and clients describe alike.

use otel_operation::Tracer;

use crate::head::{HeadView, RequestHead};
use crate::observer::RequestObserver;
use crate::options::Options;

/// The instrumentation of one layer: its tracer, its settings, and the observer of each request.
pub trait Instrumentation: Send + Sync + Sized + 'static {
    /// The form in which hooks see a request's head.
    type View: HeadView;
    /// The observer of one request.
    type Observer: RequestObserver;

    /// Returns the tracer.
    fn tracer(&self) -> &Tracer;

    /// Returns true while no SDK is installed, so that nothing of a request is recorded.
    fn is_noop(&self) -> bool {
        false
    }

    /// Returns the settings.
    fn options(&self) -> &Options<Self::View>;

    /// Returns true for a request that the protocol leaves out, beside the filter.
    fn excludes(&self, head: &RequestHead<'_>) -> bool {
        let _ = head;
        false
    }
}
