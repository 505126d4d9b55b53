//! The task that watches a service: it applies updates, and begins again after an error.
//!
//! Follows [tower's discovery](https://docs.rs/tower/latest/tower/discover/index.html) in that an error does not remove endpoints.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use crate::endpoints::{Shared, WatchOptions, WatchState};
use crate::error::PANIC;
use crate::registry::{Registry, Update};

/// Limit of the updates that are applied before the result is shown.
const MOST_AT_ONCE: usize = 1_000;

pub(crate) struct Watcher {
    shared: Arc<Shared>,
    registry: Box<dyn Registry>,
    options: WatchOptions,
    delay: Duration,
}

impl Watcher {
    pub(crate) fn new(shared: Arc<Shared>, registry: Box<dyn Registry>, options: WatchOptions) -> Self {
        Self { shared, registry, delay: options.min_delay, options }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let (error_type, reason) = self.follow().await;
            self.shared.count_restart(error_type);
            self.shared.state.send_modify(|state| state.failure = Some(reason));
            let spread = self.delay.mul_f64(fastrand::f64() / 2.0);
            tokio::time::sleep(self.delay.saturating_sub(spread)).await;
            self.delay = self.delay.saturating_mul(2).min(self.options.max_delay);
        }
    }

    /// Applies the updates until there are no more; returns the `error.type` and the reason.
    async fn follow(&mut self) -> (&'static str, Arc<str>) {
        // A registry of the program's own that panics has failed as any other.
        let panicked = || (PANIC, Arc::from("the registry panicked"));
        let watch = AssertUnwindSafe(|| self.registry.watch(&self.shared.service));
        let Ok(updates) = catch_unwind(watch) else { return panicked() };
        let mut updates = AssertUnwindSafe(updates).catch_unwind();
        while let Some(first) = updates.next().await {
            // Many updates at once are shown as one change. An error is the last one: some registries would go on to fail without a pause.
            let mut batch = vec![first];
            while batch.len() < MOST_AT_ONCE
                && matches!(batch.last(), Some(Ok(Ok(_))))
                && let Some(Some(update)) = updates.next().now_or_never()
            {
                batch.push(update);
            }
            let mut error = None;
            let mut state = self.shared.state.borrow().clone();
            for update in batch {
                match update {
                    Ok(Ok(update)) => self.apply(&mut state, update),
                    Err(_) => error = Some(panicked()),
                    Ok(Err(failed)) => error = Some((failed.error_type(), failed.to_string().into())),
                }
            }
            self.shared.observe();
            self.shared.state.send_replace(state);
            if let Some(error) = error {
                return error;
            }
        }
        ("closed", "the watch ended".into())
    }

    fn apply(&mut self, state: &mut WatchState, update: Update) {
        self.delay = self.options.min_delay;
        match update {
            Update::Complete(answer) => {
                self.shared.count_rejected(answer.rejected);
                let is_lost = answer.endpoints.is_empty() && !state.endpoints.is_empty();
                if is_lost && !self.options.empty_means_gone {
                    state.failure = Some("the answer has no endpoints".into());
                    return;
                }
                state.endpoints.replace(answer.endpoints);
            }
            Update::Insert(endpoint) => state.endpoints.insert(endpoint),
            Update::Remove(id) => state.endpoints.remove(&id),
            Update::Invalid(id) => {
                self.shared.count_rejected(1);
                state.endpoints.remove(&id);
            }
        }
        (state.answered, state.failure) = (Some(Instant::now()), None);
    }
}
