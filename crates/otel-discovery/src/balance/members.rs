//! The members of a service: each endpoint with its service, its calls and its failures, and those that can be chosen.
//!
//! Follows [Envoy's outlier
//! detection](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier) for failures and returns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tower::discover::Change;

use crate::ejection::Ejection;
use crate::endpoint::{Endpoint, Health};
use crate::endpoint_set::EndpointChange;
use crate::strategy::Strategy;

pub(crate) struct Member<S> {
    endpoint: Arc<Endpoint>,
    pub(crate) service: S,
    counts: Arc<Counts>,
}

/// The state of an endpoint that outlives a change of its health.
#[derive(Default)]
struct Counts {
    pending: AtomicUsize,
    /// The failures in a row.
    failures: AtomicU32,
    /// The ejections since its last response.
    ejections: AtomicU32,
    /// The end of its ejection in milliseconds; 0 if it is not ejected.
    ejected_until: AtomicU64,
}

impl Counts {
    /// Ends an ejection, because the registry reports that the endpoint has recovered. A further one is longer all the same, until it
    /// responds.
    fn return_healthy(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.ejected_until.store(0, Ordering::Relaxed);
    }
}

impl<S> Member<S> {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn pending(&self) -> usize {
        self.counts.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn add_pending(&self) {
        self.counts.pending.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_pending(&self) {
        self.counts.pending.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns true if both are of the same endpoint, before and after a change of its health or metadata.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.counts, &other.counts)
    }

    /// Returns true if an endpoint that is inserted is the same instance with another health, weight or metadata. One without any
    /// difference has been removed in the meantime: it is an instance that came back.
    fn is_instance_of(&self, endpoint: &Endpoint) -> bool {
        self.endpoint.authority() == endpoint.authority() && *self.endpoint != *endpoint
    }

    /// Notes a success: earlier failures and ejections no longer count.
    pub(crate) fn succeeded(&self) {
        // Stores are rare, so that the cache line is shared most of the time.
        for count in [&self.counts.failures, &self.counts.ejections] {
            if count.load(Ordering::Relaxed) != 0 {
                count.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Notes a failure, and returns how many there are in a row.
    pub(crate) fn failed(&self) -> u32 {
        self.counts.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(crate) fn ejected_until(&self) -> u64 {
        self.counts.ejected_until.load(Ordering::Relaxed)
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected_until() > 0
    }

    pub(crate) fn eject(&self, rule: &Ejection, now: u64) -> Duration {
        let time = rule.time(self.counts.ejections.fetch_add(1, Ordering::Relaxed));
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // One failure more ejects it again.
        self.counts.failures.store(rule.failures - 1, Ordering::Relaxed);
        self.counts.ejected_until.store(now.saturating_add(millis).min(u64::MAX - 1), Ordering::Relaxed);
        time
    }

    pub(crate) fn end_ejection(&self, now: u64) {
        if self.is_ejected() && self.ejected_until() <= now {
            self.counts.ejected_until.store(0, Ordering::Relaxed);
        }
    }
}

/// The members, ordered by their ids, and the candidates among them.
pub(crate) struct Members<S> {
    all: Vec<Arc<Member<S>>>,
    candidates: Vec<Arc<Member<S>>>,
    /// The sums of the candidates' weights up to each, for the strategy that needs them.
    weights: Vec<u64>,
    ejected: usize,
    unhealthy: usize,
}

impl<S> Default for Members<S> {
    fn default() -> Self {
        Self { all: Vec::new(), candidates: Vec::new(), weights: Vec::new(), ejected: 0, unhealthy: 0 }
    }
}

impl<S> Members<S> {
    pub(crate) fn new(all: Vec<Arc<Member<S>>>, strategy: Strategy) -> Self {
        let is_healthy = |member: &Member<S>| member.endpoint.health() == Health::Healthy;
        let ejected = all.iter().filter(|member| member.is_ejected()).count();
        let unhealthy = all.iter().filter(|member| !member.is_ejected() && !is_healthy(member)).count();
        // A call to an endpoint that may fail is better than none.
        let has_healthy = all.len() > ejected + unhealthy;
        let has_present = all.len() > ejected;
        let is_candidate = |member: &&Arc<Member<S>>| {
            (!has_healthy || is_healthy(member)) && (!has_present || !member.is_ejected())
        };
        let candidates: Vec<_> = all.iter().filter(is_candidate).cloned().collect();
        let mut sum = 0;
        let weights = candidates.iter().map(|member| {
            sum += u64::from(member.endpoint.weight());
            sum
        });
        let weights = if strategy == Strategy::Weighted { weights.collect() } else { Vec::new() };
        Self { all, candidates, weights, ejected, unhealthy }
    }

    /// Returns the members after these changes, and the number of endpoints whose service could not be made: `connect` panicked.
    /// They are left out until they change.
    pub(crate) fn change(
        &self,
        changes: Vec<EndpointChange>,
        connect: &mut impl FnMut(&Endpoint) -> S,
    ) -> (Vec<Arc<Member<S>>>, u64)
    where
        S: Clone,
    {
        let mut panics = 0;
        let mut all = Vec::with_capacity(self.all.len() + changes.len());
        let mut before = self.all.iter().peekable();
        // Both are ordered by id.
        for change in changes {
            let id = match &change {
                Change::Insert(id, _) | Change::Remove(id) => &**id,
            };
            while let Some(member) = before.next_if(|member| member.endpoint.id() < id) {
                all.push(Arc::clone(member));
            }
            let old = before.next_if(|member| member.endpoint.id() == id);
            if let Change::Insert(_, endpoint) = change {
                let made = match old.filter(|old| old.is_instance_of(&endpoint)) {
                    Some(old) => {
                        if old.endpoint.health() != endpoint.health() && endpoint.health() == Health::Healthy
                        {
                            old.counts.return_healthy();
                        }
                        Ok((old.service.clone(), Arc::clone(&old.counts)))
                    }
                    None => catch_unwind(AssertUnwindSafe(|| (connect(&endpoint), Arc::default()))),
                };
                match made {
                    Ok((service, counts)) => all.push(Arc::new(Member { endpoint, service, counts })),
                    Err(_) => panics += 1,
                }
            }
        }
        all.extend(before.cloned());
        (all, panics)
    }

    pub(crate) fn all(&self) -> &[Arc<Member<S>>] {
        &self.all
    }

    pub(crate) fn candidates(&self) -> &[Arc<Member<S>>] {
        &self.candidates
    }

    pub(crate) fn weights(&self) -> &[u64] {
        &self.weights
    }

    pub(crate) fn ejected(&self) -> usize {
        self.ejected
    }

    /// Returns the number of endpoints in each state.
    pub(crate) fn states(&self) -> [(&'static str, usize); 3] {
        let available = self.all.len() - self.ejected - self.unhealthy;
        [("available", available), ("ejected", self.ejected), ("unhealthy", self.unhealthy)]
    }
}
