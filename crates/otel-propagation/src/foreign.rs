//! Propagators that are not of this crate, reached through the API's trait objects.
//!
//! Follows the OpenTelemetry specification, Propagators API
//! (<https://opentelemetry.io/docs/specs/otel/context/api-propagators/>).

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};

use crate::carrier::HeaderWriter;
use crate::fields::{HeaderSet, TRACESTATE};
use crate::write_scope::WriteScope;

/// Returns true for the API's no-op propagator, whose type the global does not show: it has no state and no fields. One that
/// has neither and still writes headers has to be set by the `with_*` methods.
pub(crate) fn is_noop(global: &dyn TextMapPropagator) -> bool {
    size_of_val(global) == 0 && global.fields().next().is_none()
}

/// Lets a propagator extract on top of `cx`.
///
/// `cx` is the current context meanwhile, because OpenTelemetry's no-op answers with the current one in place of the
/// given one.
pub(crate) fn extract(propagator: &dyn TextMapPropagator, cx: &Context, carrier: &dyn Extractor) -> Context {
    let _attached = cx.clone().attach();
    propagator.extract_with_context(cx, carrier)
}

/// Lets a propagator inject. A field of its that it does not write is removed only if it writes another of the same
/// set, so that nothing of the caller's is lost where the propagator has nothing to write.
pub(crate) fn inject<C: HeaderWriter>(
    propagator: &dyn TextMapPropagator,
    cx: &Context,
    carrier: &mut C,
    scope: WriteScope,
) {
    let mut captured = Captured(Vec::new());
    propagator.inject_context(cx, &mut captured);
    captured.0.retain(|(name, _)| scope.allows(carrier, name));
    for field in propagator.fields() {
        let set = HeaderSet::containing(field);
        if captured.0.iter().any(|(name, _)| HeaderSet::containing(name) == set) {
            carrier.remove(field);
        }
    }
    for (name, value) in captured.0 {
        carrier.set(&name, &value);
    }
}

/// Lets a propagator inject a span context and the rest of a context, as [`inject`] does.
pub(crate) fn inject_span<C: HeaderWriter>(
    propagator: &dyn TextMapPropagator,
    span: &SpanContext,
    cx: &Context,
    carrier: &mut C,
    scope: WriteScope,
) {
    if cx.span().span_context() == span {
        return inject(propagator, cx, carrier, scope);
    }
    inject(propagator, &cx.with_remote_span_context(span.clone()), carrier, scope);
}

/// Headers that a propagator has written.
struct Captured(Vec<(String, String)>);

impl Injector for Captured {
    fn set(&mut self, key: &str, value: String) {
        // The SDK's propagator always writes a tracestate, also an empty one, which Trace Context advises against.
        if value.is_empty() && key.eq_ignore_ascii_case(TRACESTATE) {
            return;
        }
        self.0.push((key.to_owned(), value));
    }
}
