//! How a layer reads and writes context, and the typed global that makes it cheap.
//!
//! Follows the OpenTelemetry specification, Context, Propagators API, "Global Propagators": instrumentation libraries
//! use the global propagator unless they are given another.

use std::any::Any;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::{Context, global};

use crate::b3::B3Propagator;
use crate::baggage::propagator::BaggagePropagator;
use crate::carrier::{ExtractorView, HeaderReader, HeaderWriter};
use crate::composite::CompositePropagator;
use crate::foreign;
use crate::pass_through::PassThroughPropagator;
use crate::trace_context::TraceContextPropagator;

/// What was installed by [`set_global`], with its type. OpenTelemetry's global is a trait object that cannot be
/// downcast, and reading or writing through it costs twice as much.
static TYPED: ArcSwapOption<CompositePropagator> = ArcSwapOption::const_empty();

/// Installs a propagator as OpenTelemetry's global one, and remembers its type, so that [`PropagatorHandle::global`] takes
/// the fast way for as long as it is the global one.
///
/// Code that uses `opentelemetry::global` finds the same propagator. Whoever replaces it there later replaces it
/// here, too.
pub fn set_global(propagator: CompositePropagator) {
    TYPED.store(Some(Arc::new(propagator.clone())));
    global::set_text_map_propagator(propagator);
}

/// How context is read from and written to carriers: by OpenTelemetry's global propagator, which is the default, by one
/// of this crate, or by any other.
///
/// The propagators of this crate read a carrier in one pass and write without intermediate strings; others are served
/// through the API's trait objects. Either way reading starts from an empty context, and what a propagator could have
/// left in the carrier before is removed before writing.
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

    /// Reads the context that a carrier holds. It starts from an empty context, never from the one that is current on
    /// the thread: a message without headers belongs to no span.
    #[must_use]
    pub fn extract<C: HeaderReader + ?Sized>(&self, carrier: &C) -> Context {
        match &self.source {
            Source::Typed(composite) => composite.read(carrier),
            Source::Dyn(propagator) => extract_dyn(&**propagator, carrier),
            Source::Global => {
                let typed = TYPED.load();
                let other = global::get_text_map_propagator(|current| match &*typed {
                    Some(ours) if is_same(ours, current) => None,
                    _ => Some(extract_dyn(current, carrier)),
                });
                match (other, &*typed) {
                    (Some(cx), _) => cx,
                    (None, Some(ours)) => ours.read(carrier),
                    (None, None) => Context::new(),
                }
            }
        }
    }

    /// Writes a context to a carrier. First everything that the propagator could have left there is removed, so that
    /// nothing stale is forwarded; headers that are passed through ([`PassThroughPropagator`]) are neither removed nor replaced.
    pub fn inject<C: HeaderWriter>(&self, cx: &Context, carrier: &mut C) {
        match &self.source {
            Source::Typed(composite) => composite.write(cx, carrier),
            Source::Dyn(propagator) => foreign::inject(&**propagator, cx, carrier),
            Source::Global => {
                let typed = TYPED.load();
                let ours = global::get_text_map_propagator(|current| match &*typed {
                    Some(ours) if is_same(ours, current) => true,
                    _ => {
                        foreign::inject(current, cx, carrier);
                        false
                    }
                });
                if ours && let Some(ours) = &*typed {
                    ours.write(cx, carrier);
                }
            }
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

/// Whether OpenTelemetry's global propagator is `ours`, told by the address of its first field: clones of a composite
/// share their list of fields, and ours is alive, so that nothing else can be at that address.
fn is_same(ours: &CompositePropagator, current: &dyn TextMapPropagator) -> bool {
    let address = |field: &str| field.as_ptr();
    ours.fields().next().map(address) == current.fields().next().map(address)
        && ours.fields().next().is_some()
}

fn extract_dyn<C: HeaderReader + ?Sized>(propagator: &dyn TextMapPropagator, carrier: &C) -> Context {
    foreign::extract(propagator, &Context::new(), &ExtractorView(carrier))
}
