//! Inputs and outputs: accepted values are read back from the journal as they were, others are refused.

use std::collections::HashSet;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otel_saga::journal::{Journal, Status};
use otel_saga::{Runtime, Saga, StartError, StepContext, StepError, ValueError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::memory;

async fn nothing<I>(_: StepContext<()>, _: I, (): ()) -> Result<(), StepError> {
    Ok(())
}

fn saga<I: Serialize + DeserializeOwned + Send + 'static>(version: u32) -> Saga<(), I> {
    let mut saga = Saga::builder("order", version);
    saga.step("only", (), nothing::<I>).pivot();
    saga.build().unwrap()
}

/// Floats of 53 random bits, of which a parser that is not exact misses some.
fn floats() -> Vec<f64> {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        f64::from_bits(bits >> 12 | 0x3ff0_0000_0000_0000) * 1000.0
    };
    (0..1000).map(|_| next()).collect()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

fn tree(levels: usize) -> Tree {
    (1..levels).fold(Tree(Vec::new()), |tree, _| Tree(vec![tree]))
}

/// Starts the saga twice with equal inputs.
async fn started_twice<I>(one: I, other: I)
where
    I: Serialize + DeserializeOwned + PartialEq + Send + 'static,
{
    let saga = saga::<I>(1);
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    let id = runtime.start(&saga, "k", one).await.unwrap();
    assert_eq!(runtime.start(&saga, "k", other).await.unwrap(), id);
}

#[tokio::test]
async fn start_again_with_equal_inputs() {
    // Two sets with the same elements have different orders.
    let set = || (0..20).map(|number| format!("item-{number}")).collect::<HashSet<_>>();
    started_twice(set(), set()).await;
    started_twice(floats(), floats()).await;
    started_twice(tree(100), tree(100)).await;
}

#[tokio::test]
async fn other_inputs_are_refused_and_a_deploy_is_no_other_input() {
    #[derive(PartialEq, Serialize, Deserialize)]
    struct Old {
        item: String,
    }
    #[derive(PartialEq, Serialize, Deserialize)]
    struct New {
        item: String,
        #[serde(default)]
        gift: bool,
    }
    let (old, new) = (saga::<Old>(1), saga::<New>(2));
    let runtime = Runtime::builder(memory(), ()).with_saga(&old).with_saga(&new).start();
    let item = || "pot".to_owned();
    runtime.start(&old, "k", Old { item: item() }).await.unwrap();
    runtime.start(&new, "k", New { item: item(), gift: false }).await.unwrap();
    let other = runtime.start(&new, "k", New { item: item(), gift: true }).await;
    assert!(matches!(other, Err(StartError::OtherInput { .. })), "{other:?}");
}

async fn refused<I>(input: I) -> ValueError
where
    I: Serialize + DeserializeOwned + PartialEq + Send + 'static,
{
    let saga = saga::<I>(1);
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    let error = runtime.start(&saga, "k", input).await.unwrap_err();
    assert!(error.source().is_some());
    assert!(runtime.list(&Default::default()).await.unwrap().is_empty());
    let StartError::Input(error) = error else { panic!("{error:?}") };
    error
}

#[tokio::test]
async fn inputs_that_could_not_be_read_back_are_refused() {
    assert!(matches!(refused(tree(101)).await, ValueError::Deep));
    assert!(matches!(refused("x".repeat(16 << 20)).await, ValueError::Long));
    assert!(matches!(refused(f64::NAN).await, ValueError::Read(_)));
    assert!(matches!(refused(u128::MAX).await, ValueError::Write(_)));
}

/// Returns the outcome of a saga with this output.
async fn ended<O>(output: fn() -> O) -> (Status, String)
where
    O: Serialize + DeserializeOwned + Send + 'static,
{
    let mut saga = Saga::builder("order", 1);
    saga.step("only", (), move |_: StepContext<()>, (): (), (): ()| async move { Ok(output()) }).pivot();
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(memory(), ()).with_saga(&saga).start();
    let id = runtime.start(&saga, "k", ()).await.unwrap();
    let status = runtime.wait(&id).await.unwrap();
    (status, runtime.status(&id).await.unwrap().state.parked.unwrap_or_default())
}

#[tokio::test]
async fn outputs_that_could_not_be_read_back_park_the_saga() {
    assert_eq!(ended(|| tree(100)).await, (Status::Completed, String::new()));
    for (outcome, reason) in [
        (ended(|| tree(101)).await, "more than 100 levels"),
        (ended(|| "x".repeat(16 << 20)).await, "more than 16 MiB"),
        (ended(|| f64::NAN).await, "cannot be read back"),
    ] {
        assert_eq!(outcome.0, Status::Parked);
        assert!(outcome.1.contains("step `only`") && outcome.1.contains(reason), "{}", outcome.1);
    }
}

type Seen = Arc<Mutex<Vec<(Vec<f64>, Tree)>>>;

async fn sees(cx: StepContext<Seen>, input: (Vec<f64>, Tree), (): ()) -> Result<(), StepError> {
    cx.state().lock().unwrap().push(input);
    if cx.attempt() == 1 {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// A step sees the same input before and after a restart.
async fn is_the_same_after_a_restart(open: impl Fn() -> Arc<dyn Journal>) {
    let mut saga = Saga::builder("order", 1);
    saga.step("only", (), sees).pivot();
    let saga = saga.build().unwrap();
    let seen = Seen::default();
    let runtime = Runtime::builder(open(), Arc::clone(&seen)).with_saga(&saga).start();
    // One level is the tuple's.
    let id = runtime.start(&saga, "k", (floats(), tree(99))).await.unwrap();
    while seen.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!runtime.shutdown(Duration::ZERO).await);
    let runtime = Runtime::builder(open(), Arc::clone(&seen)).with_saga(&saga).start();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let seen = seen.lock().unwrap();
    assert!(seen.len() == 2 && seen[0] == seen[1]);
}

#[tokio::test]
async fn an_input_is_the_same_after_a_restart() {
    let journal = memory();
    is_the_same_after_a_restart(|| Arc::clone(&journal)).await;
}

#[cfg(feature = "redb")]
#[tokio::test]
async fn an_input_is_the_same_after_a_restart_from_a_file() {
    let directory = crate::support::Scratch::new();
    let file = directory.path().join("sagas.redb");
    let journal: Arc<dyn Journal> = Arc::new(otel_saga::journal::RedbJournal::open(file).unwrap());
    is_the_same_after_a_restart(|| Arc::clone(&journal)).await;
}
