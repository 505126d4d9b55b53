//! The binary `saga-admin` as a child process, on a file and on Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod file;
mod program;
mod running;
#[path = "../postgres/support.rs"]
mod support;
mod transactions;

use std::time::Duration;

use otel_saga::{RetryPolicy, Saga, StepContext, StepError};

/// A saga whose second step never succeeds, so that it waits, and can be shown and controlled.
pub(crate) fn order() -> Saga<(), String> {
    async fn reserve(_: StepContext<()>, _: String, (): ()) -> Result<String, StepError> {
        Ok("secret-output".to_owned())
    }
    async fn release(_: StepContext<()>, _: String, (): (), _: Option<String>) -> Result<(), StepError> {
        Ok(())
    }
    async fn pay(_: StepContext<()>, _: String, _: String) -> Result<(), StepError> {
        Err(StepError::uncertain("no\nanswer"))
    }
    let long = RetryPolicy::exponential(Duration::from_secs(3600), Duration::from_secs(7200));
    let mut saga = Saga::builder("order", 1);
    let reserved = saga.step("reserve", (), reserve).undo(release);
    saga.step("pay", reserved, pay).retry(long).undo(async |_, _, _, _| Ok(()));
    saga.build().unwrap()
}
