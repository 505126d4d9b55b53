//! The messages of a channel whose confirmation is not awaited.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use lapin::message::BasicReturnMessage;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::producer::SentMessage;
use crate::producer::returned::Confirm;

/// The confirmations whose futures were dropped. A task awaits each: a waker of lapin runs inside of its locks, where no
/// code of the application may run.
#[derive(Default)]
pub(crate) struct Unawaited {
    state: Mutex<State>,
    draining: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// In the order in which the futures were dropped.
    tasks: VecDeque<JoinHandle<Option<BasicReturnMessage>>>,
    /// The number of tasks whose results were taken.
    taken: u64,
    /// The messages that were not routed, until they are taken.
    returned: Vec<BasicReturnMessage>,
}

impl Unawaited {
    /// Waits for a confirmation, which ends the span of its message.
    pub(crate) fn watch(&self, mut confirm: Confirm, message: SentMessage) {
        let Ok(runtime) = Handle::try_current() else {
            // Dropping both ends the span as unknown, and leaves the confirmation to lapin.
            return;
        };
        let task = runtime.spawn(async move {
            let answer = (&mut confirm).await;
            message.finish(&confirm, &answer);
            answer.ok().and_then(lapin::Confirmation::take_message)
        });
        let mut state = self.state();
        // Bounds the list by the number of confirmations that are open. A task that has not ended is not polled, because
        // its waker is that of `drain`.
        // tokio can make it wait even so, when the caller's task has run for long.
        let mut cx = TaskContext::from_waker(Waker::noop());
        while state.tasks.front().is_some_and(JoinHandle::is_finished) && state.collect_first(&mut cx) {}
        state.tasks.push_back(task);
    }

    /// Waits for all confirmations whose futures were dropped so far, and takes the messages that were not routed.
    pub(crate) async fn drain(&self) -> Vec<BasicReturnMessage> {
        // A task keeps the waker of one caller alone.
        let _alone = self.draining.lock().await;
        let present = {
            let state = self.state();
            state.taken + state.tasks.len() as u64
        };
        poll_fn(|cx| {
            let mut state = self.state();
            while state.taken < present {
                if !state.collect_first(cx) {
                    return Poll::Pending;
                }
            }
            Poll::Ready(std::mem::take(&mut state.returned))
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the result of the first task, and returns true if it has ended.
    fn collect_first(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let Some(Poll::Ready(returned)) = self.tasks.front_mut().map(|task| Pin::new(task).poll(cx)) else {
            return false;
        };
        self.tasks.pop_front();
        self.taken += 1;
        // A task fails only if its runtime is shut down.
        self.returned.extend(returned.ok().flatten());
        true
    }
}

impl fmt::Debug for Unawaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unawaited").finish_non_exhaustive()
    }
}
