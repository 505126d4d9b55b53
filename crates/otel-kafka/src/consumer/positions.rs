//! The positions of a concurrent loop: the next message of each partition to be processed, and the last one received.
//!
//! librdkafka stores the offset of a message when it delivers it, see `enable.auto.offset.store` in
//! <https://docs.confluent.io/platform/current/clients/librdkafka/html/md_CONFIGURATION.html>. A message that the loop
//! has received and does not process would be lost with the next automatic commit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Topic and partition.
pub(crate) type TopicPartition = (String, i32);

/// The positions of the partitions of a loop.
#[derive(Debug, Default)]
pub(crate) struct Positions(Mutex<HashMap<TopicPartition, Position>>);

#[derive(Clone, Copy, Debug)]
struct Position {
    next: i64,
    received: i64,
}

impl Positions {
    fn lock(&self) -> MutexGuard<'_, HashMap<TopicPartition, Position>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a received message. One that was received before is processed again.
    pub(crate) fn received(&self, partition: &TopicPartition, offset: i64) {
        let mut positions = self.lock();
        match positions.get_mut(partition) {
            Some(position) if offset > position.received => position.received = offset,
            Some(position) => *position = Position { next: offset, received: offset },
            None => {
                positions.insert(partition.clone(), Position { next: offset, received: offset });
            }
        }
    }

    /// Notes a message whose handler has ended.
    pub(crate) fn processed(&self, partition: &TopicPartition, offset: i64) {
        if let Some(position) = self.lock().get_mut(partition) {
            position.next = offset + 1;
        }
    }

    /// Forgets these partitions. Returns the ones with messages that were not processed, and the offset of the first
    /// such message.
    pub(crate) fn take_unprocessed(
        &self,
        which: impl Fn(&TopicPartition) -> bool,
    ) -> Vec<(TopicPartition, i64)> {
        let mut unprocessed = Vec::new();
        self.lock().retain(|partition, position| {
            let taken = which(partition);
            if taken && position.next <= position.received {
                unprocessed.push((partition.clone(), position.next));
            }
            !taken
        });
        unprocessed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_that_was_not_processed_is_known() {
        let (positions, one, two) = (Positions::default(), ("a".to_owned(), 1), ("a".to_owned(), 2));
        for offset in 5..9 {
            positions.received(&one, offset);
        }
        positions.received(&two, 0);
        positions.processed(&one, 5);
        positions.processed(&one, 7);
        positions.processed(&two, 0);
        assert_eq!(positions.take_unprocessed(|(_, partition)| *partition == 2), []);
        assert_eq!(positions.take_unprocessed(|_| true), [(one.clone(), 8)]);
        assert_eq!(positions.take_unprocessed(|_| true), []);

        // After a seek the messages are delivered again.
        positions.received(&one, 5);
        positions.processed(&one, 5);
        positions.received(&one, 5);
        assert_eq!(positions.take_unprocessed(|_| true), [(one, 5)]);
    }
}
