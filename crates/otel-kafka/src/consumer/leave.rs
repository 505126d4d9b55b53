//! The departure from the group before a consumer closes.
//!
//! When librdkafka closes a consumer, it does not wait for the answer to a revocation that a rebalance has put into the
//! consumer's queue just before. The answer, a call of `unassign`, then never returns. A consumer that has left its group
//! before has no such revocation.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;

use crate::consumer::context::{ConsumerContext, TracedConsumerContext};

/// The number of polls that serve the events in the queue: at most an assignment and two revocations, and the errors,
/// statistics and results of commits before them.
const POLLS: usize = 100;

/// The membership of a consumer in a group.
#[derive(Debug)]
pub(crate) struct Membership {
    may_leave: AtomicBool,
    is_static: bool,
}

impl Membership {
    pub(crate) fn from_config(config: &ClientConfig) -> Self {
        let is_static = config.get("group.instance.id").is_some_and(|id| !id.is_empty());
        Self { may_leave: AtomicBool::new(false), is_static }
    }

    /// Notes a subscription. A static member keeps its membership when it closes, and does not leave:
    /// <https://cwiki.apache.org/confluence/x/nYdnBg> (KIP-345).
    pub(crate) fn subscribed(&self) {
        self.may_leave.store(!self.is_static, Ordering::Relaxed);
    }
}

/// Leaves the group, and serves the rebalances that are in the consumer's queue with `poll`. Does nothing for a consumer that
/// has not subscribed, whose poll would return messages.
pub(crate) fn leave_group<C: ConsumerContext>(
    consumer: &impl Consumer<TracedConsumerContext<C>>,
    mut poll: impl FnMut(),
) {
    if !consumer.context().membership().may_leave.swap(false, Ordering::Relaxed) {
        return;
    }
    consumer.unsubscribe();
    // Returns after librdkafka has processed the call before.
    let _ = consumer.subscription();
    for _ in 0..POLLS {
        poll();
    }
}
