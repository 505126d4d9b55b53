//! The state that the clones of a service share: members, candidates, and what was chosen.
//!
//! Follows `docs/conventions.md`. A pick reads one pointer; changes build the candidates anew, under a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};
use otel_operation::{AttributedCounter, ERROR_TYPE};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::attributes::{self, EJECTION, ENDPOINT_STATE, PickFacts, STRATEGY};
use crate::balance::members::{Member, Members};
use crate::ejection::Ejection;
use crate::endpoint_set::EndpointChange;
use crate::endpoints::Shared;
use crate::error::{NO_ENDPOINTS, NoEndpoints};
use crate::metrics::Observed;
use crate::strategy::Strategy;

pub(crate) struct Core<S> {
    members: ArcSwap<Members<S>>,
    /// Held while the members change.
    changing: Mutex<()>,
    turn: AtomicUsize,
    strategy: Strategy,
    ejection: Option<Ejection>,
    /// The zero of the times below.
    epoch: Instant,
    /// The time in milliseconds at which the next ejection ends.
    next_return: AtomicU64,
    /// True once the registry has answered or failed.
    pub(crate) first: watch::Sender<bool>,
    pub(crate) shared: Arc<Shared>,
    attributes: Vec<KeyValue>,
    /// The series of choices that found an endpoint.
    picks: OnceLock<AttributedCounter>,
    is_observed: AtomicBool,
}

impl<S> Core<S> {
    pub(crate) fn new(shared: Arc<Shared>, strategy: Strategy, ejection: Option<Ejection>) -> Self {
        let mut attributes = shared.attributes.clone();
        attributes.push(KeyValue::new(STRATEGY, strategy.as_str()));
        Self {
            members: ArcSwap::default(),
            changing: Mutex::default(),
            turn: AtomicUsize::new(0),
            strategy,
            ejection,
            epoch: Instant::now(),
            next_return: AtomicU64::new(u64::MAX),
            first: watch::Sender::new(false),
            shared,
            attributes,
            picks: OnceLock::new(),
            is_observed: AtomicBool::new(false),
        }
    }

    /// Applies changes of the endpoints. An endpoint that has only changed its health or metadata keeps its service and its
    /// failures.
    pub(crate) fn apply(&self, changes: Vec<EndpointChange>, connect: &mut impl FnMut(&crate::Endpoint) -> S)
    where
        S: Clone,
    {
        if !changes.is_empty() {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let (members, panics) = self.members.load().change(changes, connect);
            self.publish(members);
            self.shared.count_panics(panics);
        }
        let state = self.shared.state.borrow();
        let is_first = state.answered.is_some() || state.failure.is_some();
        self.first.send_if_modified(|first| std::mem::replace(first, is_first) != is_first);
    }

    /// Shows these members. The lock is held.
    fn publish(&self, members: Vec<Arc<Member<S>>>) {
        let next = members.iter().map(|one| one.ejected_until()).filter(|until| *until > 0).min();
        self.next_return.store(next.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.members.store(Arc::new(Members::new(members, self.strategy)));
    }

    fn now(&self) -> u64 {
        millis(self.epoch.elapsed())
    }

    /// Chooses a member; `None` if none is known.
    pub(crate) fn choose(&self) -> Option<(Arc<Member<S>>, usize)> {
        if self.next_return.load(Ordering::Relaxed) != u64::MAX {
            self.end_ejections();
        }
        let members = self.members.load();
        let candidates = members.candidates();
        if candidates.is_empty() {
            return None;
        }
        let pending = |at: usize| candidates[at].pending();
        let at = self.strategy.choose(candidates.len(), &self.turn, members.weights(), pending);
        Some((Arc::clone(&candidates[at]), candidates.len()))
    }

    fn end_ejections(&self) {
        if self.now() < self.next_return.load(Ordering::Relaxed) {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let members = self.members.load().all().to_vec();
        members.iter().for_each(|member| member.end_ejection(now));
        self.publish(members);
    }

    /// Applies the result of a call to its member.
    pub(crate) fn finish(&self, member: &Arc<Member<S>>, is_failure: bool, context: &Context) {
        let Some(rule) = &self.ejection else { return };
        if !is_failure {
            member.succeeded();
        } else if member.failed() >= rule.failures {
            self.eject(rule, member, context);
        }
    }

    #[cold]
    fn eject(&self, rule: &Ejection, member: &Arc<Member<S>>, context: &Context) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members.load();
        let is_known = members.all().iter().any(|one| one.is_same(member));
        if !is_known || member.is_ejected() || members.ejected() >= rule.limit(members.all().len()) {
            return;
        }
        let time = member.eject(rule, self.now());
        self.publish(members.all().to_vec());
        if let Some(instruments) = self.shared.instrumentation.instruments() {
            instruments.ejections.add(1, &self.shared.attributes);
        }
        let event = attributes::ejection(member.endpoint(), time.as_secs_f64());
        context.span().add_event(EJECTION, event);
    }

    /// Records a choice on the span of its call, and counts it.
    pub(crate) fn record(
        self: &Arc<Self>,
        member: &Member<S>,
        candidates: usize,
        attempt: u32,
        context: &Context,
    ) where
        S: Send + Sync + 'static,
    {
        self.count(None);
        let span = context.span();
        if span.is_recording() {
            let stale_time = self.shared.state.borrow().stale_time().map(|time| time.as_secs_f64());
            let strategy = self.strategy.as_str();
            let facts = PickFacts { strategy, candidates, attempt, stale_time };
            span.set_attributes(attributes::pick(member.endpoint(), facts));
        }
    }

    /// Counts a choice, or one that found no endpoint.
    pub(crate) fn count(self: &Arc<Self>, error_type: Option<&'static str>)
    where
        S: Send + Sync + 'static,
    {
        self.shared.observe();
        self.shared.instrumentation.observe_once(&self.is_observed, self);
        let Some(instruments) = self.shared.instrumentation.instruments() else { return };
        match error_type {
            None => self
                .picks
                .get_or_init(|| AttributedCounter::new(&instruments.picks, self.attributes.clone()))
                .add(1),
            Some(error_type) => {
                let mut attributes = self.attributes.clone();
                attributes.push(KeyValue::new(ERROR_TYPE, error_type));
                instruments.picks.add(1, &attributes);
            }
        }
    }

    /// The error of a call that finds no endpoint, which is counted.
    #[cold]
    pub(crate) fn nothing_known(self: &Arc<Self>) -> NoEndpoints
    where
        S: Send + Sync + 'static,
    {
        self.count(Some(NO_ENDPOINTS));
        let state = self.shared.state.borrow();
        let reason = match (&state.failure, state.answered) {
            (Some(reason), _) => Arc::clone(reason),
            (None, Some(_)) => "its answer has none".into(),
            (None, None) => "it has not answered yet".into(),
        };
        NoEndpoints { registry: self.shared.registry, service: Arc::clone(&self.shared.service), reason }
    }
}

impl<S: Send + Sync> Observed for Core<S> {
    fn endpoints(&self, observe: &mut dyn FnMut(u64, &[KeyValue])) {
        let members = self.members.load();
        for (state, count) in members.states() {
            let mut attributes = self.shared.attributes.clone();
            attributes.push(KeyValue::new(ENDPOINT_STATE, state));
            observe(count as u64, &attributes);
        }
    }
}

fn millis(time: Duration) -> u64 {
    // One later, because 0 stands for no time.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
}
