//! The joint: the state through which an inner layer reports to the owner of its request's span.
//!
//! Only the first inner layer that joins allocates one. The owner applies its content when it ends.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;
use otel_operation::Outcome;

use crate::protocol::Protocol;
use crate::route;
use crate::span::{NameRank, SpanName};

/// Reports of the inner layers of one request.
#[derive(Debug)]
pub(crate) struct Joint(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The protocols that a layer records, and those of them whose inner operation has ended.
    recorded: u32,
    ended: u32,
    route: Option<Arc<str>>,
    name: Option<SpanName>,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    /// The outcome of the most specific protocol that ended, with the protocol's rank.
    outcome: Option<(u8, Outcome)>,
    /// The status code of the innermost layer of a protocol, for outer layers of the same protocol.
    status: Option<(Protocol, u16)>,
}

#[derive(Debug)]
struct Event {
    name: Cow<'static, str>,
    time: SystemTime,
    attributes: Vec<KeyValue>,
}

impl Joint {
    /// Returns the joint of an owner that records the protocols of the mask.
    pub(crate) fn new(recorded: u32, route: Option<&str>) -> Self {
        Self(Mutex::new(State { recorded, route: route.map(Arc::from), ..State::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step below leaves the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a layer of this protocol and route can belong to the owner's request. A protocol that has ended
    /// belongs to the previous inner request: another attempt, or a request that a handler makes.
    pub(crate) fn admits(&self, protocol: Protocol, route: Option<&str>) -> bool {
        let state = self.lock();
        if state.ended & protocol.bit() != 0 {
            return false;
        }
        match (&state.route, route) {
            (Some(outer), Some(inner)) => route::continues(outer, inner),
            _ => true,
        }
    }

    /// Registers an inner layer; returns true if a layer around it records the protocol already.
    pub(crate) fn enter(&self, protocol: Protocol) -> bool {
        let mut state = self.lock();
        let recorded = state.recorded & protocol.bit() != 0;
        state.recorded |= protocol.bit();
        recorded
    }

    /// Reports the end of an inner layer.
    pub(crate) fn leave(&self, protocol: Protocol, outcome: &Outcome, status: Option<u16>) {
        let mut state = self.lock();
        state.ended |= protocol.bit();
        if state.outcome.as_ref().is_none_or(|(rank, _)| *rank <= protocol.rank()) {
            state.outcome = Some((protocol.rank(), outcome.clone()));
        }
        if let Some(code) = status {
            state.status = Some((protocol, code));
        }
    }

    /// Renames the owner, unless a layer inside has reported a name that replaces this one.
    pub(crate) fn set_owner_name(&self, name: SpanName) {
        let mut state = self.lock();
        if state.name.as_ref().is_none_or(|inner| !inner.rank.replaces(name.rank)) {
            state.name = Some(name);
        }
    }

    pub(crate) fn set_name(&self, name: SpanName) {
        let mut state = self.lock();
        if state.name.as_ref().is_none_or(|before| name.rank.replaces(before.rank)) {
            state.name = Some(name);
        }
    }

    /// Sets the route unless a layer further out has set one: that one can be an attribute already.
    pub(crate) fn set_route(&self, route: &str) {
        self.lock().route.get_or_insert_with(|| Arc::from(route));
    }

    pub(crate) fn route(&self) -> Option<Arc<str>> {
        self.lock().route.clone()
    }

    /// Returns the status code that the innermost layer of this protocol reported.
    pub(crate) fn status(&self, protocol: Protocol) -> Option<u16> {
        self.lock().status.filter(|(reporter, _)| *reporter == protocol).map(|(_, code)| code)
    }

    pub(crate) fn add_attribute(&self, attribute: KeyValue) {
        self.lock().attributes.push(attribute);
    }

    pub(crate) fn add_attributes(&self, attributes: impl IntoIterator<Item = KeyValue>) {
        let list = &mut self.lock().attributes;
        if list.is_empty() {
            // The first list is taken over with its allocation.
            *list = attributes.into_iter().collect();
        } else {
            list.extend(attributes);
        }
    }

    pub(crate) fn add_event(&self, name: Cow<'static, str>, attributes: Vec<KeyValue>) {
        self.lock().events.push(Event { name, time: SystemTime::now(), attributes });
    }

    /// Writes the reports to the owner's span, whose current name has this rank.
    #[cold]
    #[inline(never)]
    pub(crate) fn apply(&self, span: &SpanRef<'_>, rank: NameRank) {
        let (attributes, events, name) = {
            let mut state = self.lock();
            let State { attributes, events, name, .. } = &mut *state;
            (std::mem::take(attributes), std::mem::take(events), name.take())
        };
        span.set_attributes(attributes);
        for Event { name, time, attributes } in events {
            span.add_event_with_timestamp(name, time, attributes);
        }
        if let Some(name) = name.filter(|name| name.rank.replaces(rank)) {
            span.update_name(name.text);
        }
    }

    /// Returns the outcome that the owner's span shows in place of its own, if it is another one.
    ///
    /// A panic stays a panic. The failure of a more specific protocol comes before the owner's, the owner's before that of
    /// a less specific one. If the more specific protocol ended well, that the caller went away is no failure.
    #[cold]
    #[inline(never)]
    pub(crate) fn overruling(&self, protocol: Protocol, outcome: &Outcome) -> Option<Outcome> {
        let state = self.lock();
        let (rank, inner) = state.outcome.as_ref()?;
        let is_more_specific = *rank > protocol.rank();
        let overrules = match (outcome.error_type().map(AsRef::as_ref), inner.error_type()) {
            (Some("panic"), _) => false,
            (None, Some(_)) => true,
            (Some(_), Some(_)) => is_more_specific,
            (Some("cancelled"), None) => is_more_specific,
            _ => false,
        };
        overrules.then(|| inner.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Protocol = Protocol::new(1);
    const RPC: Protocol = Protocol::new(2);

    fn class(joint: &Joint, outcome: &Outcome) -> Option<String> {
        joint
            .overruling(HTTP, outcome)
            .map(|outcome| outcome.error_type().map_or("ok".into(), |class| class.to_string()))
    }

    #[test]
    fn the_more_specific_failure_is_shown() {
        let joint = Joint::new(HTTP.bit(), None);
        assert_eq!(class(&joint, &Outcome::ok()), None);
        joint.leave(RPC, &Outcome::error("INTERNAL"), None);
        for (own, shown) in [
            (Outcome::ok(), Some("INTERNAL")),
            (Outcome::error("503"), Some("INTERNAL")),
            (Outcome::cancelled(), Some("INTERNAL")),
            (Outcome::panicked(), None),
        ] {
            assert_eq!(class(&joint, &own).as_deref(), shown, "{own:?}");
        }
    }

    #[test]
    fn a_late_name_of_the_owner_replaces_lesser_names_inside() {
        let name = |text: &'static str, rank| SpanName::new(text, rank);
        let kept = |inner: SpanName| {
            let joint = Joint::new(RPC.bit(), None);
            joint.set_name(inner);
            joint.set_owner_name(name("a.B/C", NameRank::Procedure));
            joint.lock().name.take().unwrap().text
        };
        assert_eq!(kept(name("POST /a.B/{*rest}", NameRank::Route)), "a.B/C");
        assert_eq!(kept(name("a.B/Inner", NameRank::Procedure)), "a.B/Inner");
        assert_eq!(kept(name("chosen", NameRank::Hook)), "chosen");
    }

    #[test]
    fn a_success_inside_overrules_a_cancellation_and_nothing_else() {
        let joint = Joint::new(HTTP.bit(), None);
        joint.leave(RPC, &Outcome::ok(), None);
        assert_eq!(class(&joint, &Outcome::cancelled()).as_deref(), Some("ok"));
        assert_eq!(class(&joint, &Outcome::error("503")), None);
        let same = Joint::new(HTTP.bit(), None);
        same.leave(HTTP, &Outcome::ok(), None);
        assert_eq!(class(&same, &Outcome::cancelled()), None);
    }

    #[test]
    fn a_protocol_that_has_ended_admits_no_second_request() {
        let joint = Joint::new(HTTP.bit(), Some("/page"));
        assert!(joint.admits(RPC, None) && !joint.admits(RPC, Some("/api/{id}")));
        assert!(joint.enter(HTTP) && !joint.enter(RPC) && joint.enter(RPC));
        joint.leave(RPC, &Outcome::ok(), Some(5));
        assert!(!joint.admits(RPC, None) && joint.admits(HTTP, None));
        assert_eq!((joint.status(RPC), joint.status(HTTP)), (Some(5), None));
    }
}
