//! How a layer reads and writes context, and the typed global that makes it cheap.
//!
//! Follows the OpenTelemetry specification, Context, Propagators API, "Global Propagators": instrumentation libraries
//! use the global propagator unless they are given another.

use std::any::Any;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::{Context, global};

use crate::b3::B3;
use crate::baggage::propagator::BaggagePropagator;
use crate::carrier::{ExtractorView, Headers, HeadersMut};
use crate::composite::Composite;
use crate::foreign;
use crate::pass_through::PassThrough;
use crate::trace_context::TraceContext;

/// What was installed by [`set_global`], with its type. OpenTelemetry's global is a trait object that cannot be
/// downcast, and reading or writing through it costs twice as much.
static TYPED: ArcSwapOption<Composite> = ArcSwapOption::const_empty();

/// Installs a propagator as OpenTelemetry's global one, and remembers its type, so that [`Propagation::global`] takes
/// the fast way for as long as it is the global one.
///
/// Code that uses `opentelemetry::global` finds the same propagator. Whoever replaces it there later replaces it
/// here, too.
pub fn set_global(propagator: Composite) {
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
pub struct Propagation {
    way: Way,
}

#[derive(Clone, Debug, Default)]
enum Way {
    #[default]
    Global,
    Typed(Composite),
    Dyn(Arc<dyn TextMapPropagator + Send + Sync>),
}

impl Propagation {
    /// OpenTelemetry's global propagator, looked up at every use: it may be installed after the layers are built, and
    /// replaced at any time.
    #[must_use]
    pub fn global() -> Self {
        Self::default()
    }

    /// The given propagator. One of this crate is recognised by its type.
    #[must_use]
    pub fn new<P: TextMapPropagator + Send + Sync + 'static>(propagator: P) -> Self {
        let way = match typed(&propagator) {
            Some(composite) => Way::Typed(composite),
            None => Way::Dyn(Arc::new(propagator)),
        };
        Self { way }
    }

    /// Reads the context that a carrier holds. It starts from an empty context, never from the one that is current on
    /// the thread: a message without headers belongs to no span.
    #[must_use]
    pub fn extract<C: Headers + ?Sized>(&self, carrier: &C) -> Context {
        match &self.way {
            Way::Typed(composite) => composite.read(carrier),
            Way::Dyn(propagator) => extract_dyn(&**propagator, carrier),
            Way::Global => {
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
    /// nothing stale is forwarded; headers that are passed through ([`PassThrough`]) are neither removed nor replaced.
    pub fn inject<C: HeadersMut>(&self, cx: &Context, carrier: &mut C) {
        match &self.way {
            Way::Typed(composite) => composite.write(cx, carrier),
            Way::Dyn(propagator) => foreign::inject(&**propagator, cx, carrier),
            Way::Global => {
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
pub fn extract<C: Headers + ?Sized>(carrier: &C) -> Context {
    Propagation::global().extract(carrier)
}

/// Writes a context to a carrier, by the global propagator; see [`Propagation::inject`].
pub fn inject<C: HeadersMut>(cx: &Context, carrier: &mut C) {
    Propagation::global().inject(cx, carrier);
}

/// The propagator as a composite, if its type is one of ours.
fn typed(propagator: &dyn Any) -> Option<Composite> {
    if let Some(composite) = propagator.downcast_ref::<Composite>() {
        return Some(composite.clone());
    }
    let empty = Composite::empty();
    if let Some(format) = propagator.downcast_ref::<TraceContext>() {
        Some(empty.with_trace_context(*format))
    } else if let Some(format) = propagator.downcast_ref::<BaggagePropagator>() {
        Some(empty.with_baggage(*format))
    } else if let Some(format) = propagator.downcast_ref::<B3>() {
        Some(empty.with_b3(*format))
    } else {
        propagator.downcast_ref::<PassThrough>().map(|format| empty.with_pass_through(format.clone()))
    }
}

/// Whether OpenTelemetry's global propagator is `ours`, told by the address of its first field: clones of a composite
/// share their list of fields, and ours is alive, so that nothing else can be at that address.
fn is_same(ours: &Composite, current: &dyn TextMapPropagator) -> bool {
    let address = |field: &str| field.as_ptr();
    ours.fields().next().map(address) == current.fields().next().map(address)
        && ours.fields().next().is_some()
}

fn extract_dyn<C: Headers + ?Sized>(propagator: &dyn TextMapPropagator, carrier: &C) -> Context {
    foreign::extract(propagator, &Context::new(), &ExtractorView(carrier))
}
