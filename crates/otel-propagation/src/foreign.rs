//! Propagators that are not of this crate, reached through the API's trait objects.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};

use crate::carrier::{HeaderWriter, InjectorView};

/// Lets a propagator that is not ours read. One without fields reads nothing; it may be OpenTelemetry's no-op, which
/// answers with the context that is current on the thread whatever it is given.
pub(crate) fn extract(other: &dyn TextMapPropagator, cx: &Context, raw: &dyn Extractor) -> Context {
    if other.fields().next().is_none() {
        return cx.clone();
    }
    other.extract_with_context(cx, raw)
}

/// Lets a propagator that is not ours write, after its fields were removed: it may write nothing where it has nothing.
pub(crate) fn inject<C: HeaderWriter>(other: &dyn TextMapPropagator, cx: &Context, carrier: &mut C) {
    for field in other.fields() {
        carrier.remove(field);
    }
    other.inject_context(cx, &mut InjectorView(carrier));
}
