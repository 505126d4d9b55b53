//! Two services with different sagas on one journal: each drives its own instances only.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use otel_saga::journal::Status;
use otel_saga::{RetryPolicy, Runtime, Saga, StepContext, StepError};

use crate::support::Scratch;

async fn fails_once(cx: StepContext<()>, _: (), (): ()) -> Result<(), StepError> {
    if cx.attempt() < 2 {
        return Err(io::Error::other("flaky").into());
    }
    Ok(())
}

/// The back-off is longer than the poll interval, so that instances wait in the journal, where both services look.
fn saga(name: &str) -> Saga<(), ()> {
    let wait = Duration::from_millis(200);
    let mut saga = Saga::builder(name, 1);
    saga.step("act", (), fails_once).retry(RetryPolicy::exponential(wait, wait)).pivot();
    saga.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_left_to_the_service_that_knows_their_definition() {
    let database = Scratch::new();
    let (order, refund) = (saga("order"), saga("refund"));
    let poll = Duration::from_millis(20);
    let orders = Runtime::builder(Arc::new(database.journal().await), ()).with_saga(&order);
    let orders = orders.with_poll_interval(poll).start();
    let refunds = Runtime::builder(Arc::new(database.journal().await), ()).with_saga(&refund);
    let refunds = refunds.with_poll_interval(poll).start();
    let mut ids = Vec::new();
    for number in 0..50 {
        ids.push(orders.start(&order, &number.to_string(), ()).await.unwrap());
        ids.push(refunds.start(&refund, &number.to_string(), ()).await.unwrap());
    }
    for id in &ids {
        assert_eq!(orders.wait(id).await.unwrap(), Status::Completed, "{id}");
    }
    orders.shutdown(Duration::from_secs(10)).await;
    refunds.shutdown(Duration::from_secs(10)).await;
}
