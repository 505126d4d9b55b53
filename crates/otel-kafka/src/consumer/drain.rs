//! The deferral of a revocation until the processing loops of a consumer have ended what they run.
//!
//! librdkafka waits for the application's answer to a revocation, and delivers nothing of the consumer's partitions
//! meanwhile: <https://docs.confluent.io/platform/current/clients/librdkafka/html/md_INTRODUCTION.html>, "Rebalancing".

use std::task::Waker;

use rdkafka::TopicPartitionList;

/// The loops of a consumer, and the revocation that waits for some of them.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    next_loop: u64,
    loops: Vec<Loop>,
    revoked: Option<TopicPartitionList>,
}

#[derive(Debug)]
struct Loop {
    id: u64,
    /// True while the revocation waits for this loop.
    drains: bool,
    waker: Option<Waker>,
}

impl Drain {
    /// Registers a loop. A revocation that is already deferred does not wait for it, because it has received nothing.
    pub(crate) fn begin(&mut self) -> u64 {
        self.next_loop += 1;
        self.loops.push(Loop { id: self.next_loop, drains: false, waker: None });
        self.next_loop
    }

    /// Removes a loop. Returns the partitions to release if it was the last one that the revocation waited for.
    pub(crate) fn end(&mut self, id: u64) -> Option<TopicPartitionList> {
        self.loops.retain(|one| one.id != id);
        self.take_released()
    }

    /// Notes that a loop runs nothing of the revoked partitions any more. Returns the partitions to release if it was
    /// the last one.
    pub(crate) fn release(&mut self, id: u64) -> Option<TopicPartitionList> {
        if let Some(one) = self.find(id) {
            one.drains = false;
        }
        self.take_released()
    }

    /// Keeps the waker of a loop, to be woken by a revocation that another task has received.
    pub(crate) fn register(&mut self, id: u64, waker: &Waker) {
        if let Some(one) = self.find(id) {
            match &mut one.waker {
                Some(kept) => kept.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    /// Returns true if the revocation waits for this loop.
    pub(crate) fn is_draining(&self, id: u64) -> bool {
        self.loops.iter().any(|one| one.id == id && one.drains)
    }

    /// Returns true if the revocation of this partition is deferred.
    pub(crate) fn is_revoked(&self, topic: &str, partition: i32) -> bool {
        self.revoked.as_ref().is_some_and(|list| list.find_partition(topic, partition).is_some())
    }

    /// Defers a revocation and returns true if loops are running.
    pub(crate) fn put_off(&mut self, list: &TopicPartitionList) -> bool {
        for one in &mut self.loops {
            one.drains = true;
            one.waker.take().into_iter().for_each(Waker::wake);
        }
        let waits = !self.loops.is_empty();
        if waits {
            self.revoked = Some(list.clone());
        }
        waits
    }

    fn find(&mut self, id: u64) -> Option<&mut Loop> {
        self.loops.iter_mut().find(|one| one.id == id)
    }

    fn take_released(&mut self) -> Option<TopicPartitionList> {
        if self.loops.iter().any(|one| one.drains) { None } else { self.revoked.take() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition("orders", 1);
        list
    }

    #[test]
    fn a_revocation_waits_for_each_loop_that_was_running() {
        let mut drain = Drain::default();
        assert!(!drain.put_off(&list()), "nothing runs");
        let (first, second) = (drain.begin(), drain.begin());
        assert!(drain.put_off(&list()));
        assert!(drain.is_revoked("orders", 1) && !drain.is_revoked("orders", 2));
        let late = drain.begin();
        assert_eq!([first, second, late].map(|id| drain.is_draining(id)), [true, true, false]);
        assert_eq!(drain.release(late), None, "a loop that began later releases nothing");
        assert_eq!(drain.end(late), None);
        assert_eq!(drain.release(first), None);
        assert!(!drain.is_draining(first) && drain.is_revoked("orders", 1));
        assert_eq!(drain.end(second), Some(list()));
        assert!(!drain.is_revoked("orders", 1));
        assert_eq!(drain.end(first), None);
    }
}
