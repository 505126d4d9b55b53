//! The deferral of a revocation until the processing loops of a consumer have ended what they run.
//!
//! librdkafka waits for the application's answer to a revocation, and delivers nothing of the consumer's partitions
//! meanwhile: <https://docs.confluent.io/platform/current/clients/librdkafka/html/md_INTRODUCTION.html>, "Rebalancing".

use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use rdkafka::TopicPartitionList;

use crate::consumer::positions::Positions;

/// Answers the revocation with this number in place of the loops that it waits for.
pub(crate) type AnswerOverdue = Arc<dyn Fn(u64) + Send + Sync>;

/// The loops of a consumer, and the revocation that waits for some of them.
#[derive(Default)]
pub(crate) struct Drain {
    next_number: u64,
    loops: Vec<Loop>,
    pending: Option<Pending>,
    answer_overdue: Option<AnswerOverdue>,
}

struct Loop {
    id: u64,
    /// The time after which a revocation does not wait for this loop any more.
    limit: Duration,
    positions: Option<Arc<Positions>>,
    /// The partitions that this loop has to end.
    revoked: Option<TopicPartitionList>,
    /// True if the revocation has been answered without this loop.
    is_overdue: bool,
    waker: Option<Waker>,
}

/// A revocation that waits.
struct Pending {
    number: u64,
    list: TopicPartitionList,
    /// Ends the thread that watches the limit when it is dropped.
    _watch: mpsc::Sender<()>,
}

impl Loop {
    fn is_waited_for(&self) -> bool {
        self.revoked.is_some() && !self.is_overdue
    }
}

impl Drain {
    /// Registers a loop. A revocation that is already deferred does not wait for it, because it has received nothing.
    pub(crate) fn begin(
        &mut self,
        limit: Duration,
        positions: Option<Arc<Positions>>,
        answer_overdue: impl FnOnce() -> AnswerOverdue,
    ) -> u64 {
        self.answer_overdue.get_or_insert_with(answer_overdue);
        let id = self.number();
        self.loops.push(Loop { id, limit, positions, revoked: None, is_overdue: false, waker: None });
        id
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
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
            (one.revoked, one.is_overdue) = (None, false);
        }
        self.take_released()
    }

    /// Ends the wait of a revocation. Returns its partitions and the positions of the loops that it waited for, or `None` if
    /// it does not wait any more.
    pub(crate) fn take_overdue(&mut self, number: u64) -> Option<(TopicPartitionList, Vec<Arc<Positions>>)> {
        let pending = self.pending.take_if(|pending| pending.number == number)?;
        let mut positions = Vec::new();
        for one in self.loops.iter_mut().filter(|one| one.is_waited_for()) {
            one.is_overdue = true;
            positions.extend(one.positions.clone());
        }
        Some((pending.list, positions))
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

    /// Returns true if the loop has to end what it runs of revoked partitions.
    pub(crate) fn is_draining(&self, id: u64) -> bool {
        self.loops.iter().any(|one| one.id == id && one.revoked.is_some())
    }

    /// Returns true if the revocation has been answered without this loop.
    pub(crate) fn is_overdue(&self, id: u64) -> bool {
        self.loops.iter().any(|one| one.id == id && one.is_overdue)
    }

    /// Returns true if the loop has to end what it runs of this partition.
    pub(crate) fn is_revoked(&self, id: u64, topic: &str, partition: i32) -> bool {
        let revoked = self.loops.iter().find(|one| one.id == id).and_then(|one| one.revoked.as_ref());
        revoked.is_some_and(|list| list.find_partition(topic, partition).is_some())
    }

    /// Defers a revocation and returns true if it has to wait for loops. A loop that is overdue from an earlier one is not
    /// waited for.
    pub(crate) fn put_off(&mut self, list: &TopicPartitionList) -> bool {
        for one in &mut self.loops {
            add(one.revoked.get_or_insert_default(), list);
            one.waker.take().into_iter().for_each(Waker::wake);
        }
        let waited_for = self.loops.iter().filter(|one| one.is_waited_for());
        let Some(limit) = waited_for.map(|one| one.limit).max() else { return false };
        let (number, (watch, ended)) = (self.number(), mpsc::channel());
        self.pending = Some(Pending { number, list: list.clone(), _watch: watch });
        if let Some(answer_overdue) = self.answer_overdue.clone() {
            // A loop whose future is kept and not polled, or whose handler blocks its thread, notices no deadline. Without a
            // thread, which the system may refuse, such a loop holds the group as long as it does not go on.
            let _ = thread::Builder::new().name("otel-kafka-drain".to_owned()).spawn(move || {
                if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                    answer_overdue(number);
                }
            });
        }
        true
    }

    fn find(&mut self, id: u64) -> Option<&mut Loop> {
        self.loops.iter_mut().find(|one| one.id == id)
    }

    fn take_released(&mut self) -> Option<TopicPartitionList> {
        if self.loops.iter().any(Loop::is_waited_for) {
            return None;
        }
        self.pending.take().map(|pending| pending.list)
    }
}

/// Adds the partitions of `more` to `list`.
fn add(list: &mut TopicPartitionList, more: &TopicPartitionList) {
    for partition in more.elements() {
        if list.find_partition(partition.topic(), partition.partition()).is_none() {
            list.add_partition(partition.topic(), partition.partition());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a test.
    const LIMIT: Duration = Duration::from_secs(600);

    fn list(partition: i32) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition("orders", partition);
        list
    }

    fn begin(drain: &mut Drain) -> u64 {
        drain.begin(LIMIT, None, || Arc::new(|_| {}))
    }

    #[test]
    fn a_revocation_waits_for_each_loop_that_was_running() {
        let mut drain = Drain::default();
        assert!(!drain.put_off(&list(1)), "nothing runs");
        let (first, second) = (begin(&mut drain), begin(&mut drain));
        assert!(drain.put_off(&list(1)));
        assert!(drain.is_revoked(first, "orders", 1) && !drain.is_revoked(first, "orders", 2));
        let late = begin(&mut drain);
        assert_eq!([first, second, late].map(|id| drain.is_draining(id)), [true, true, false]);
        assert_eq!(drain.release(late), None, "a loop that began later releases nothing");
        assert_eq!(drain.end(late), None);
        assert_eq!(drain.release(first), None);
        assert!(!drain.is_draining(first) && drain.is_revoked(second, "orders", 1));
        assert_eq!(drain.end(second), Some(list(1)));
        assert_eq!(drain.end(first), None);
    }

    #[test]
    fn a_revocation_does_not_wait_for_a_loop_that_is_overdue() {
        let mut drain = Drain::default();
        let (overdue, other) = (begin(&mut drain), begin(&mut drain));
        assert!(drain.put_off(&list(1)));
        let number = drain.pending.as_ref().map_or(0, |pending| pending.number);
        assert_eq!(drain.release(other), None);
        assert!(drain.take_overdue(number + 1).is_none(), "another revocation");
        assert_eq!(drain.take_overdue(number).map(|(list, _)| list), Some(list(1)));
        assert!(drain.take_overdue(number).is_none(), "it has been answered");
        assert_eq!([overdue, other].map(|id| drain.is_overdue(id)), [true, false]);

        // The loop has to end what it ran of both revocations, and the second one waits for the other loop only.
        assert!(drain.put_off(&list(2)));
        assert!(drain.is_revoked(overdue, "orders", 1) && drain.is_revoked(overdue, "orders", 2));
        assert_eq!(drain.release(other), Some(list(2)));
        assert!(drain.is_draining(overdue));
        assert_eq!(drain.release(overdue), None);
        assert!(!drain.is_draining(overdue) && !drain.is_overdue(overdue));
        assert!(drain.put_off(&list(3)), "it is waited for again");
    }

    #[test]
    fn a_revocation_is_answered_at_its_limit_unless_it_was_before() {
        let (sender, answered) = mpsc::channel();
        let answer: AnswerOverdue = Arc::new(move |number| sender.send(number).unwrap());
        let mut drain = Drain::default();
        let prompt = drain.begin(LIMIT, None, || answer);
        assert!(drain.put_off(&list(1)));
        // Ends the first watch.
        assert_eq!(drain.end(prompt), Some(list(1)));
        drain.begin(Duration::from_millis(10), None, || Arc::new(|_| {}));
        assert!(drain.put_off(&list(2)));
        let number = drain.pending.as_ref().map(|pending| pending.number);
        assert_eq!(answered.recv_timeout(Duration::from_secs(60)).ok(), number);
    }
}
