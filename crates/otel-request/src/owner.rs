//! The owner of a request's span: the outermost operation, which layers further in add to.
//!
//! While the `call` or the future of an operation runs, plain facts of it are in a thread-local. An inner layer of the same
//! side joins if its carrier names the same span as the owner's. Layers that are not nested pay for reading one flag.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Extensions, Method, StatusCode};
use opentelemetry::Context;
use opentelemetry::trace::SpanId;

use crate::joint::Joint;
use crate::protocol::{Protocol, Side};
use crate::route;

/// A request extension: this request has a span of its own, although it is made on the thread of another request.
///
/// Only a request without a parent and without routes needs it; all others are distinguished without it.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a marker that callers insert")]
pub struct SeparateRequest;

const SIDE: u32 = 0b11;
const OWN_SPAN: u32 = 1 << 2;
const RECORDING: u32 = 1 << 3;
const HEAD: u32 = 1 << 4;
const CONNECT: u32 = 1 << 5;
/// The bits of [`Protocol::bit`].
const PROTOCOLS: u32 = !0xff;

/// The facts of an owner that an inner layer compares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    flags: u32,
    /// The span id in the headers of this request, 0 for none: the caller's on a server, the owner's own on a client.
    carrier: u64,
    route: Option<&'static str>,
}

const NO_OWNER: Facts = Facts { flags: 0, carrier: 0, route: None };

impl Facts {
    #[inline]
    pub(crate) fn new(
        side: Side,
        protocol: Protocol,
        carrier: SpanId,
        owns_span: bool,
        is_recording: bool,
        method: &Method,
        route: Option<&'static str>,
    ) -> Self {
        let flags = side as u32
            | if owns_span { OWN_SPAN } else { 0 }
            | if is_recording { RECORDING } else { 0 }
            | method_flag(method)
            | protocol.bit();
        Self { flags, carrier: to_number(carrier), route }
    }

    pub(crate) fn new_joint(&self) -> Arc<Joint> {
        Arc::new(Joint::new(self.flags & PROTOCOLS, self.route))
    }

    pub(crate) fn owns_span(&self) -> bool {
        self.flags & OWN_SPAN != 0
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.flags & RECORDING != 0
    }

    /// Returns true if a response with this status has a body. Those to HEAD, of the statuses 1xx, 204 and 304, and
    /// successful ones to CONNECT have none, so that HTTP libraries drop the value in its place unpolled
    /// ([RFC 9110, section 6.4.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1)).
    #[inline]
    pub(crate) fn allows_body(&self, status: StatusCode) -> bool {
        let has_none = self.flags & HEAD != 0
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || (self.flags & CONNECT != 0 && status.is_success());
        !has_none
    }

    /// Returns true if a layer with this carrier and route belongs to the owner's request.
    fn admits(&self, joint: Option<&Joint>, layer: &Layer<'_>) -> bool {
        if self.flags & SIDE != layer.side as u32 || self.carrier != to_number(layer.carrier) {
            return false;
        }
        match joint {
            Some(joint) => joint.admits(layer.protocol, layer.route),
            None => match (self.route, layer.route) {
                (Some(outer), Some(inner)) => route::continues(outer, inner),
                _ => true,
            },
        }
    }
}

#[inline]
fn method_flag(method: &Method) -> u32 {
    match *method {
        Method::HEAD => HEAD,
        Method::CONNECT => CONNECT,
        _ => 0,
    }
}

#[inline]
fn to_number(id: SpanId) -> u64 {
    u64::from_ne_bytes(id.to_bytes())
}

struct Current {
    facts: Cell<Facts>,
    // Not dropped with the thread, so that the thread-local needs no destructor: it is filled only while the code of an
    // operation runs, which restores the previous content.
    joint: Cell<ManuallyDrop<Option<Arc<Joint>>>>,
}

thread_local! {
    static CURRENT: Current = const {
        Current { facts: Cell::new(NO_OWNER), joint: Cell::new(ManuallyDrop::new(None)) }
    };
}

/// The content of the thread-local before the code of an operation began to run.
#[derive(Debug)]
pub(crate) struct Previous {
    facts: Facts,
    joint: ManuallyDrop<Option<Arc<Joint>>>,
}

/// Makes an operation the innermost one of this thread and lends its joint to inner layers.
#[inline]
pub(crate) fn enter(facts: Facts, joint: &mut Option<Arc<Joint>>) -> Previous {
    CURRENT.with(|current| Previous {
        facts: current.facts.replace(facts),
        joint: current.joint.replace(ManuallyDrop::new(joint.take())),
    })
}

/// Restores the previous content, and returns the joint, which an inner layer may have created.
#[inline]
pub(crate) fn leave(previous: &mut Previous) -> Option<Arc<Joint>> {
    CURRENT.with(|current| {
        current.facts.set(previous.facts);
        let joint = ManuallyDrop::new(previous.joint.take());
        ManuallyDrop::into_inner(current.joint.replace(joint))
    })
}

/// The owner as a request extension: for a `tower::buffer` or a spawned task right around an inner layer.
#[derive(Clone)]
struct OwnerExtension {
    facts: Facts,
    joint: Arc<Joint>,
    context: Context,
}

/// Set when a layer first writes an [`OwnerExtension`], so that no other process looks it up.
static HAS_EXTENSIONS: AtomicBool = AtomicBool::new(false);

/// Writes the owner into its request; returns the joint that the two share.
#[cold]
#[inline(never)]
pub(crate) fn extend(facts: Facts, context: &Context, extensions: &mut Extensions) -> Arc<Joint> {
    // Relaxed: the request itself travels to the other thread through a channel, which orders this store before its use.
    HAS_EXTENSIONS.store(true, Ordering::Relaxed);
    let joint = facts.new_joint();
    extensions.insert(OwnerExtension { facts, joint: Arc::clone(&joint), context: context.clone() });
    joint
}

/// A layer that looks for the owner of its request.
pub(crate) struct Layer<'a> {
    pub(crate) side: Side,
    pub(crate) protocol: Protocol,
    pub(crate) carrier: SpanId,
    pub(crate) route: Option<&'a str>,
    pub(crate) extensions: &'a Extensions,
}

/// The owner that an inner layer found.
pub(crate) struct Joined {
    pub(crate) facts: Facts,
    pub(crate) joint: Arc<Joint>,
    /// True if a layer around this one records the protocol.
    pub(crate) is_recorded: bool,
    pub(crate) context: Context,
}

/// Returns true if an owner can exist. It is the complete cost of a layer that is not nested.
#[inline]
pub(crate) fn can_be_inside(side: Side) -> bool {
    CURRENT.with(|current| current.facts.get().flags & SIDE == side as u32)
        || HAS_EXTENSIONS.load(Ordering::Relaxed)
}

/// Joins the operation around a layer if it is of the same request.
#[cold]
#[inline(never)]
pub(crate) fn join(layer: &Layer<'_>) -> Option<Joined> {
    if layer.extensions.get::<SeparateRequest>().is_some() {
        return None;
    }
    let nested = with_current(|facts, slot| {
        facts.admits(slot.as_deref(), layer).then(|| {
            let joint = slot.get_or_insert_with(|| facts.new_joint());
            (facts, Arc::clone(joint), None)
        })
    });
    let extended = || {
        let owner = layer.extensions.get::<OwnerExtension>()?;
        let admits = owner.facts.admits(Some(&owner.joint), layer);
        admits.then(|| (owner.facts, Arc::clone(&owner.joint), Some(owner.context.clone())))
    };
    let (facts, joint, context) = nested.or_else(extended)?;
    let is_recorded = joint.enter(layer.protocol);
    if let Some(route) = layer.route {
        joint.set_route(route);
    }
    Some(Joined { facts, joint, is_recorded, context: context.unwrap_or_else(Context::current) })
}

/// Returns true if the current operation is of the same request, without joining it: for a layer that records nothing.
#[cold]
#[inline(never)]
pub(crate) fn is_same_request(layer: &Layer<'_>) -> bool {
    layer.extensions.get::<SeparateRequest>().is_none()
        && with_current(|facts, slot| facts.admits(slot.as_deref(), layer))
}

fn with_current<T>(look: impl FnOnce(Facts, &mut Option<Arc<Joint>>) -> T) -> T {
    CURRENT.with(|current| {
        let mut slot = ManuallyDrop::into_inner(current.joint.replace(ManuallyDrop::new(None)));
        let result = look(current.facts.get(), &mut slot);
        current.joint.set(ManuallyDrop::new(slot));
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_no_body_by_its_method_or_its_status() {
        let allows = |method: Method, status: u16| {
            let protocol = Protocol::new(1);
            let facts = Facts::new(Side::Server, protocol, SpanId::INVALID, true, true, &method, None);
            facts.allows_body(StatusCode::from_u16(status).unwrap())
        };
        for (method, status, allowed) in [
            (Method::GET, 200, true),
            (Method::GET, 205, true),
            (Method::GET, 404, true),
            (Method::GET, 103, false),
            (Method::GET, 204, false),
            (Method::GET, 304, false),
            (Method::HEAD, 200, false),
            (Method::HEAD, 500, false),
            (Method::CONNECT, 200, false),
            (Method::CONNECT, 407, true),
        ] {
            assert_eq!(allows(method.clone(), status), allowed, "{method} {status}");
        }
    }
}
