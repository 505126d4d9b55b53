//! The course of one saga: success, refusal, unknown outcomes, retries.

use std::time::Duration;

use otel_saga::flow::{Phase, Record};
use otel_saga::journal::Status;

use super::started;
use crate::shop::{Fault, order, trip};

#[tokio::test(start_paused = true)]
async fn a_saga_completes_and_outputs_flow_to_later_steps() {
    let (shop, runtime) = started();
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(id, "order/1");
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!(shop.called(), "reserve pay ship");
    let instance = runtime.status(&id).await.unwrap();
    let outputs: Vec<_> = instance.state.steps.iter().map(|step| step.action.output().unwrap()).collect();
    assert_eq!(outputs, ["reserve-1", "pay-1", "ship-1"]);
    // An outcome and the intent that follows from it are one append: started, three intents, the end.
    assert_eq!(instance.records.len(), 8);
    let keys: Vec<String> = shop.world().calls.iter().map(|call| call.key.clone()).collect();
    let nonce = instance.state.started.nonce.unwrap();
    assert_eq!(keys, [format!("{nonce}-000-a"), format!("{nonce}-001-a"), format!("{nonce}-002-a")]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_pivot_undoes_what_was_done() {
    let (shop, runtime) = started();
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve pay -reserve");
    let nonce = runtime.status(&id).await.unwrap().state.started.nonce.unwrap();
    let world = shop.world();
    assert_eq!(world.calls[2].output.as_deref(), Some("reserve-1"));
    assert_eq!(world.calls[2].key, format!("{nonce}-000-c"));
    assert!(world.standing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_step_of_unknown_outcome_is_tried_again_and_then_undone_without_output() {
    let (shop, runtime) = started();
    shop.script("reserve", Phase::Action, [Fault::LoseAnswer, Fault::Lose, Fault::Panic]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve reserve reserve -reserve");
    let world = shop.world();
    assert_eq!(world.calls[3].output, None);
    assert!(world.keys.values().all(|keys| keys.len() == 1), "{:?}", world.keys);
    assert!(world.standing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn back_off_lies_between_attempts_and_a_hanging_one_is_cut() {
    let (shop, runtime) = started();
    shop.script("pay", Phase::Action, [Fault::Lose, Fault::Lose, Fault::Slow(60_000), Fault::Lose]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    let world = shop.world();
    let pays: Vec<_> = world.calls.iter().filter(|call| call.step == "pay").collect();
    let gaps: Vec<u128> = pays.windows(2).map(|two| (two[1].at - two[0].at).as_millis()).collect();
    // The waits are 100, 200, the time-out of 5 s and 400, 800. `journal::now` reads several clocks in turn, so that each due time is
    // off by the pauses of its thread meanwhile.
    for (gap, expected) in gaps.iter().zip([100_u128, 200, 5_400, 800]) {
        assert!(gap.abs_diff(expected) <= 50, "{gaps:?}");
    }
    assert_eq!(pays.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn pivots_forward_steps_and_compensations_are_never_given_up() {
    let (shop, runtime) = started();
    shop.script("pay", Phase::Action, [Fault::LoseAnswer; 40]);
    shop.script("ship", Phase::Action, [Fault::Lose; 40]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!(shop.world().calls.len(), 1 + 41 + 41);

    shop.script("pay", Phase::Action, [Fault::Refuse]);
    let faults = [[Fault::Lose; 20], [Fault::LoseAnswer; 20]].concat();
    shop.script("reserve", Phase::Compensation, faults);
    let id = runtime.start(&order(1), "2", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(runtime.status(&id).await.unwrap().state.steps[0].compensation.attempts, 41);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_gives_a_step_up() {
    use crate::shop::{Shop, act, builder, policy, undo};
    let mut saga = otel_saga::Saga::<Shop, u32>::builder("dated", 1);
    let patient = policy().with_attempts(1000);
    saga.step("reserve", (), act).retry(patient).deadline(Duration::from_secs(60)).undo(undo);
    let saga = saga.build().unwrap();
    let shop = Shop::default();
    shop.script("reserve", Phase::Action, [Fault::Lose; 1000]);
    let runtime = builder(&super::memory(), &shop, "w").with_saga(&saga).start();
    let id = runtime.start(&saga, "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    let world = shop.world();
    let last = world.calls.iter().rfind(|call| call.phase == Phase::Action).unwrap();
    assert!(last.at - world.calls[0].at <= Duration::from_secs(60));
    assert!(world.calls.len() > 8);
}

#[tokio::test(start_paused = true)]
async fn parallel_steps_run_at_once_and_the_refusal_of_one_stops_the_other() {
    let (shop, runtime) = started();
    shop.script("flight", Phase::Action, [Fault::Slow(100)]);
    shop.script("hotel", Phase::Action, [Fault::Slow(100)]);
    let id = runtime.start(&trip(), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!((shop.called().as_str(), shop.world().most_at_once), ("flight hotel car", 2));

    // The flight hangs until it is cancelled; only then is it undone.
    shop.script("flight", Phase::Action, [Fault::Hang]);
    shop.script("hotel", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&trip(), "2", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "flight hotel car flight hotel -flight");
    let world = shop.world();
    assert_eq!(world.calls[5].output.as_deref(), Some("flight-1"));
    assert!(world.calls[5].at - world.calls[3].at < Duration::from_secs(1), "it was not timed out");
}

type Undone = std::sync::Arc<std::sync::Mutex<Vec<(u32, u32, Option<u32>)>>>;

#[tokio::test(start_paused = true)]
async fn a_compensation_receives_the_arguments_of_its_action() {
    use otel_saga::{Runtime, Saga, StepContext, StepError};
    async fn one(_: StepContext<Undone>, input: u32, (): ()) -> Result<u32, StepError> {
        Ok(input + 1)
    }
    async fn two(_: StepContext<Undone>, _: u32, one: u32) -> Result<u32, StepError> {
        Ok(one + 1)
    }
    async fn no(_: StepContext<Undone>, _: u32, (): ()) -> Result<(), StepError> {
        Err(StepError::refused("no"))
    }
    async fn undo(cx: StepContext<Undone>, input: u32, one: u32, two: Option<u32>) -> Result<(), StepError> {
        cx.state().lock().unwrap().push((input, one, two));
        Ok(())
    }
    let mut saga = Saga::builder("arguments", 1);
    let first = saga.step("one", (), one).undo(async |_, _, (), _| Ok(()));
    saga.step("two", first, two).undo(undo);
    saga.step("no", (), no).pivot();
    let saga = saga.build().unwrap();
    let undone = Undone::default();
    let runtime = Runtime::builder(super::memory(), Undone::clone(&undone)).with_saga(&saga).start();
    let id = runtime.start(&saga, "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(*undone.lock().unwrap(), [(7, 8, Some(9))]);
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_in_the_journal() {
    let (shop, runtime) = started();
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    runtime.wait(&id).await.unwrap();
    let records = runtime.status(&id).await.unwrap().records;
    let words: Vec<&str> = records
        .iter()
        .map(|record| match record {
            Record::Started(_) => "started",
            Record::Intent { .. } => "intent",
            Record::Done { .. } => "done",
            Record::Refused { error, .. } => {
                assert_eq!(error, "no");
                "refused"
            }
            Record::Undone { .. } => "undone",
            Record::Ended { .. } => "ended",
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = ["started", "intent", "done", "intent", "refused", "intent", "undone", "ended"];
    assert_eq!(words, expected);
}
