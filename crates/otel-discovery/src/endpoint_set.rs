//! A set of endpoints, ordered by their ids, and the difference between two sets.
//!
//! Follows [tower's `Change`](https://docs.rs/tower/latest/tower/discover/enum.Change.html). An endpoint that has not changed keeps
//! its allocation, so that most comparisons are of pointers.

use std::cmp::Ordering;
use std::sync::Arc;

use tower::discover::Change;

use crate::endpoint::Endpoint;

/// Limit of the endpoints of a service: the answer of a registry is untrusted input.
pub(crate) const MOST_ENDPOINTS: usize = 100_000;

pub(crate) type EndpointChange = Change<Arc<str>, Arc<Endpoint>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointSet(Arc<Vec<Arc<Endpoint>>>);

impl EndpointSet {
    /// Replaces all endpoints.
    pub(crate) fn replace(&mut self, endpoints: Vec<Endpoint>) {
        let mut new: Vec<_> = endpoints.into_iter().take(MOST_ENDPOINTS).collect();
        // The last one of an id comes first, and stays.
        new.reverse();
        new.sort_by(|a, b| a.id().cmp(b.id()));
        new.dedup_by(|later, first| later.id() == first.id());
        let kept = new.into_iter().map(|endpoint| match self.position(endpoint.id()) {
            Ok(at) if *self.0[at] == endpoint => Arc::clone(&self.0[at]),
            _ => Arc::new(endpoint),
        });
        self.0 = Arc::new(kept.collect());
    }

    pub(crate) fn insert(&mut self, endpoint: Endpoint) {
        match self.position(endpoint.id()) {
            Ok(at) if *self.0[at] == endpoint => {}
            Ok(at) => Arc::make_mut(&mut self.0)[at] = Arc::new(endpoint),
            Err(at) if self.0.len() < MOST_ENDPOINTS => {
                Arc::make_mut(&mut self.0).insert(at, Arc::new(endpoint));
            }
            Err(_) => {}
        }
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if let Ok(at) = self.position(id) {
            Arc::make_mut(&mut self.0).remove(at);
        }
    }

    fn position(&self, id: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|endpoint| endpoint.id().cmp(id))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.iter()
    }

    /// Returns the changes that make this set into `next`. An endpoint that has changed is an insertion.
    pub(crate) fn changes_to(&self, next: &Self) -> Vec<EndpointChange> {
        let mut changes = Vec::new();
        if Arc::ptr_eq(&self.0, &next.0) {
            return changes;
        }
        let (mut before, mut after) = (self.iter().peekable(), next.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) if Arc::ptr_eq(old, new) => Ordering::Equal,
                (Some(old), Some(new)) => old.id().cmp(new.id()),
            };
            let old = before.next_if(|_| order.is_le());
            let new = after.next_if(|_| order.is_ge());
            match (old, new) {
                (Some(old), None) => changes.push(Change::Remove(Arc::clone(old.shared_id()))),
                (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
                (_, Some(new)) => changes.push(Change::Insert(Arc::clone(new.shared_id()), Arc::clone(new))),
                (None, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str, port: u16) -> Endpoint {
        Endpoint::new("127.0.0.1", port).unwrap().with_id(id).unwrap()
    }

    fn shown(changes: &[EndpointChange]) -> Vec<String> {
        let show = |change: &EndpointChange| match change {
            Change::Insert(id, endpoint) => format!("+{id}:{}", endpoint.port()),
            Change::Remove(id) => format!("-{id}"),
        };
        changes.iter().map(show).collect()
    }

    #[test]
    fn changes_are_the_difference() {
        let mut set = EndpointSet::default();
        set.replace(vec![endpoint("b", 2), endpoint("a", 9), endpoint("a", 1)]);
        assert_eq!(shown(&EndpointSet::default().changes_to(&set)), ["+a:1", "+b:2"]);
        let before = set.clone();
        set.replace(vec![endpoint("b", 2), endpoint("a", 1)]);
        assert_eq!(shown(&before.changes_to(&set)), [""; 0]);
        set.insert(endpoint("a", 3));
        set.insert(endpoint("c", 4));
        set.remove("b");
        set.remove("x");
        assert_eq!(shown(&before.changes_to(&set)), ["+a:3", "-b", "+c:4"]);
        set.insert(endpoint("c", 4));
        assert_eq!(shown(&set.changes_to(&before)), ["+a:1", "+b:2", "-c"]);
    }
}
