//! The handle by which a layer reads and writes context, and the typed global that makes it cheap.
//!
//! Follows the OpenTelemetry specification, "Global Propagators"
//! (<https://opentelemetry.io/docs/specs/otel/context/api-propagators/#global-propagators>): instrumentation libraries use the global propagator unless they
//! are given another.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::SpanContext;
use opentelemetry::{Context, global};

use crate::b3::B3Propagator;
use crate::baggage::propagator::BaggagePropagator;
use crate::carrier::{ExtractorView, HeaderReader, HeaderWriter, WithoutBaggage};
use crate::composite::CompositePropagator;
use crate::extracted::ExtractedParent;
use crate::foreign;
use crate::pass_through::PassThroughPropagator;
use crate::trace_context::TraceContextPropagator;
use crate::write_scope::WriteScope;

/// The propagator that [`set_global`] installed, with its type. OpenTelemetry's global is a trait object that cannot be
/// downcast, and reading or writing through it costs twice as much.
static TYPED: ArcSwapOption<CompositePropagator> = ArcSwapOption::const_empty();

/// Installs a propagator as OpenTelemetry's global one, and remembers its type, so that [`PropagatorHandle::global`] takes
/// the fast way for as long as it is the global one.
///
/// Code that uses `opentelemetry::global` finds the same propagator. Replacing it there later
/// replaces it here, too.
pub fn set_global(propagator: CompositePropagator) {
    TYPED.store(Some(Arc::new(propagator.clone())));
    global::set_text_map_propagator(propagator);
}

/// Set while the global propagator is the one of the last [`set_global`].
static IS_FINAL: AtomicBool = AtomicBool::new(false);

/// Declares that no other propagator replaces the one of the last [`set_global`] (or that one may), so that it need not be
/// looked up in OpenTelemetry's global.
///
/// OpenTelemetry's setter cannot be observed, so the code that sets the SDK up has to declare it;
/// `otel_operation::declare_final_propagator` does, together with what else is declared.
pub fn declare_global_final(is_final: bool) {
    IS_FINAL.store(is_final, Ordering::Relaxed);
}

/// Returns true if the global propagator is known to be the one of the last [`set_global`].
#[must_use]
#[inline]
pub fn is_global_final() -> bool {
    IS_FINAL.load(Ordering::Relaxed)
}

/// Reads context from carriers and writes it to them: by OpenTelemetry's global propagator, which is the default, by one
/// of this crate, or by any other.
///
/// The propagators of this crate read a carrier in one pass and write without intermediate strings; others are served
/// through the API's trait objects. Either way reading starts from an empty context.
#[derive(Clone, Debug, Default)]
pub struct PropagatorHandle {
    source: Source,
}

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    Global,
    Typed(CompositePropagator),
    Dyn(Arc<dyn TextMapPropagator + Send + Sync>),
}

impl PropagatorHandle {
    /// OpenTelemetry's global propagator, looked up at every use: it may be installed after the layers are built, and
    /// replaced at any time.
    #[must_use]
    pub fn global() -> Self {
        Self::default()
    }

    /// The given propagator. One of this crate is recognised by its type.
    #[must_use]
    pub fn new<P: TextMapPropagator + Send + Sync + 'static>(propagator: P) -> Self {
        let source = match typed(&propagator) {
            Some(composite) => Source::Typed(composite),
            None => Source::Dyn(Arc::new(propagator)),
        };
        Self { source }
    }

    /// Returns true while the global propagator is the API's no-op, which reads and writes nothing. A propagator that the user
    /// set is never one.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        matches!(self.source, Source::Global)
            && !is_global_final()
            && global::get_text_map_propagator(foreign::is_noop)
    }

    /// Reads the context that a carrier holds. It starts from an empty context, never from the one that is current on
    /// the thread: a message without headers belongs to no span.
    #[must_use]
    pub fn extract<C: HeaderReader + ?Sized>(&self, carrier: &C) -> Context {
        self.extract_parent(carrier).into_context()
    }

    /// Reads the context that a carrier holds, as [`extract`](Self::extract) does, but without making a context of a span
    /// context alone. For callers that may not need one.
    #[must_use]
    pub fn extract_parent<C: HeaderReader + ?Sized>(&self, carrier: &C) -> ExtractedParent {
        match &self.source {
            Source::Typed(composite) => composite.read(carrier),
            Source::Dyn(propagator) => extract_dyn(&**propagator, carrier).into(),
            Source::Global => with_global(|propagator| match propagator {
                Ok(ours) => ours.read(carrier),
                Err(other) if foreign::is_noop(other) => ExtractedParent::default(),
                Err(other) => extract_dyn(other, carrier).into(),
            }),
        }
    }

    /// Reads the context that a carrier holds, but for its `baggage` header, which no propagator gets to see: for
    /// callers that are not trusted, and for reading a span context to link to.
    #[must_use]
    pub fn extract_without_baggage<C: HeaderReader + ?Sized>(&self, carrier: &C) -> Context {
        self.extract(&WithoutBaggage(carrier))
    }

    /// Writes a context to a carrier. Headers of a kind that the context has are replaced as one set, so that nothing
    /// stale is forwarded beside them: `traceparent` with `tracestate`, all of B3, `baggage`. A kind that the context has
    /// not is left as the caller wrote it, as are headers that are passed through ([`PassThroughPropagator`]).
    pub fn inject<C: HeaderWriter>(&self, cx: &Context, carrier: &mut C) {
        match &self.source {
            Source::Typed(composite) => composite.write(cx, carrier),
            Source::Dyn(propagator) => foreign::inject(&**propagator, cx, carrier, WriteScope::ALL),
            Source::Global => with_global(|propagator| match propagator {
                Ok(ours) => ours.write(cx, carrier),
                Err(other) => foreign::inject(other, cx, carrier, WriteScope::ALL),
            }),
        }
    }

    /// Writes a span context and the rest of `cx`, such as its baggage, as [`inject`](Self::inject) of a context with that span does.
    /// For a span whose context is not needed otherwise, because making one costs more than writing it.
    pub fn inject_span_context<C: HeaderWriter>(&self, span: &SpanContext, cx: &Context, carrier: &mut C) {
        let foreign = |propagator: &dyn TextMapPropagator, carrier: &mut C| {
            foreign::inject_span(propagator, span, cx, carrier, WriteScope::ALL);
        };
        match &self.source {
            Source::Typed(composite) => composite.write_span(span, cx, carrier),
            Source::Dyn(propagator) => foreign(&**propagator, carrier),
            Source::Global => with_global(|propagator| match propagator {
                Ok(ours) => ours.write_span(span, cx, carrier),
                Err(other) => foreign(other, carrier),
            }),
        }
    }

    /// Writes the parts of a context of which the carrier holds nothing yet, and leaves all headers that it has: trace
    /// headers are written if it has none of the propagator's, baggage if it has none.
    ///
    /// For code that passes a context on without a span of its own in it; otherwise see [`inject`](Self::inject).
    pub fn inject_absent<C: HeaderWriter>(&self, cx: &Context, carrier: &mut C) {
        let foreign = |propagator: &dyn TextMapPropagator, carrier: &mut C| {
            let scope = WriteScope::absent(carrier, propagator.fields());
            foreign::inject(propagator, cx, carrier, scope);
        };
        match &self.source {
            Source::Typed(composite) => composite.write_absent(cx, carrier),
            Source::Dyn(propagator) => foreign(&**propagator, carrier),
            Source::Global => with_global(|propagator| match propagator {
                Ok(ours) => ours.write_absent(cx, carrier),
                Err(other) => foreign(other, carrier),
            }),
        }
    }
}

/// Reads the context that a carrier holds, by the global propagator. It starts from an empty context.
#[must_use]
pub fn extract<C: HeaderReader + ?Sized>(carrier: &C) -> Context {
    PropagatorHandle::global().extract(carrier)
}

/// Writes a context to a carrier, by the global propagator; see [`PropagatorHandle::inject`].
pub fn inject<C: HeaderWriter>(cx: &Context, carrier: &mut C) {
    PropagatorHandle::global().inject(cx, carrier);
}

/// Passes on the global propagator, with its type if it is the one that was installed by [`set_global`].
#[inline]
fn with_global<T>(mut use_it: impl FnMut(Result<&CompositePropagator, &dyn TextMapPropagator>) -> T) -> T {
    let typed = TYPED.load();
    if is_global_final()
        && let Some(ours) = typed.as_deref()
    {
        return use_it(Ok(ours));
    }
    let ours = |current: &dyn TextMapPropagator| typed.as_deref().filter(|ours| is_same(ours, current));
    // Ours is used after the global's lock was released.
    let other = global::get_text_map_propagator(|current| match ours(current) {
        Some(_) => None,
        None => Some(use_it(Err(current))),
    });
    match (other, typed.as_deref()) {
        (None, Some(ours)) => use_it(Ok(ours)),
        (Some(result), _) => result,
        (None, None) => use_it(Ok(&CompositePropagator::empty())),
    }
}

/// The propagator as a composite, if its type is one of ours.
fn typed(propagator: &dyn Any) -> Option<CompositePropagator> {
    if let Some(composite) = propagator.downcast_ref::<CompositePropagator>() {
        return Some(composite.clone());
    }
    let empty = CompositePropagator::empty();
    if let Some(format) = propagator.downcast_ref::<TraceContextPropagator>() {
        Some(empty.with_trace_context(*format))
    } else if let Some(format) = propagator.downcast_ref::<BaggagePropagator>() {
        Some(empty.with_baggage(*format))
    } else if let Some(format) = propagator.downcast_ref::<B3Propagator>() {
        Some(empty.with_b3(*format))
    } else {
        propagator
            .downcast_ref::<PassThroughPropagator>()
            .map(|format| empty.with_pass_through(format.clone()))
    }
}

/// Recognizes `ours` as OpenTelemetry's global propagator by the address of its first field: clones of a composite
/// share their list of fields, and ours is alive, so that nothing else can be at that address.
fn is_same(ours: &CompositePropagator, current: &dyn TextMapPropagator) -> bool {
    let address = |propagator: &dyn TextMapPropagator| propagator.fields().next().map(str::as_ptr);
    let ours = address(ours);
    ours.is_some() && ours == address(current)
}

fn extract_dyn<C: HeaderReader + ?Sized>(propagator: &dyn TextMapPropagator, carrier: &C) -> Context {
    foreign::extract(propagator, &Context::new(), &ExtractorView(carrier))
}
