//! Property tests: any order of failures, crashes and cancellations, in definitions of any shape, leads to one of the
//! three outcomes.

use std::time::Duration;

use otel_saga::Saga;
use otel_saga::flow::Phase;
use otel_saga::journal::Status;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::memory;
use crate::shop::{Fault, Shop, act, builder, policy, undo};

/// Stages with these numbers of compensatable steps, optionally a pivot, and this many forward steps after it.
#[derive(Clone, Debug)]
struct Shape {
    stages: Vec<usize>,
    forward: Option<usize>,
}

impl Shape {
    fn names(&self) -> Vec<String> {
        let before: usize = self.stages.iter().sum();
        let all = before + self.forward.map_or(0, |forward| 1 + forward);
        (0..all).map(|number| format!("s{number}")).collect()
    }

    fn saga(&self) -> Saga<Shop, u32> {
        let mut saga = Saga::builder("any", 1);
        let mut names = self.names().into_iter();
        let mut name = || names.next().unwrap();
        for width in &self.stages {
            saga.parallel(|g| {
                for _ in 0..*width {
                    g.step(name(), (), act).retry(policy()).timeout(Duration::from_secs(5)).undo(undo);
                }
            });
        }
        if let Some(forward) = self.forward {
            saga.step(name(), (), act).retry(policy()).timeout(Duration::from_secs(5)).pivot();
            for _ in 0..forward {
                saga.step(name(), (), act).retry(policy()).timeout(Duration::from_secs(5)).forward();
            }
        }
        saga.build().unwrap()
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    (prop::collection::vec(1..3_usize, 1..4), prop::option::of(0..3_usize))
        .prop_map(|(stages, forward)| Shape { stages, forward })
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        3 => Just(Fault::Fine),
        1 => Just(Fault::Refuse),
        1 => Just(Fault::Lose),
        2 => Just(Fault::LoseAnswer),
        1 => Just(Fault::Panic),
        1 => Just(Fault::Slow(700)),
        1 => Just(Fault::Slow(9_000)),
        1 => Just(Fault::Hang),
    ];
    prop::collection::vec(fault, 0..5)
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Crash,
    Cancel,
    Park,
    Unpark,
}

/// External events, each with the time in milliseconds since the one before.
fn outside() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![Just(Event::Crash), Just(Event::Cancel), Just(Event::Park), Just(Event::Unpark)];
    prop::collection::vec((prop_oneof![Just(0), 0..8_000_u64], event), 0..4)
}

async fn run(
    shape: &Shape,
    scripts: &[(Vec<Fault>, Vec<Fault>)],
    outside: &[(u64, Event)],
) -> Result<(), TestCaseError> {
    let (journal, shop, saga) = (memory(), Shop::default(), shape.saga());
    for (name, (action, compensation)) in shape.names().iter().zip(scripts) {
        shop.script(name, Phase::Action, action.iter().copied());
        shop.script(name, Phase::Compensation, compensation.iter().copied());
    }
    let mut number = 0;
    let mut worker = || {
        number += 1;
        builder(&journal, &shop, &format!("w{number}")).with_saga(&saga).start()
    };
    let mut runtime = worker();
    let id = runtime.start(&saga, "1", 7).await.unwrap();
    for (after, event) in outside {
        tokio::time::sleep(Duration::from_millis(*after)).await;
        // The saga may have ended, or be beyond its pivot.
        let _ = match event {
            Event::Crash => {
                runtime = worker();
                Ok(())
            }
            Event::Cancel => runtime.cancel(&id).await,
            Event::Park => runtime.park(&id, "a look").await,
            Event::Unpark => runtime.unpark(&id).await,
        };
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let _ = runtime.unpark(&id).await;
    let status = tokio::time::timeout(Duration::from_secs(3600), runtime.wait(&id)).await;
    let status = status.map_err(|_| TestCaseError::fail("it is stuck"))?.unwrap();
    // Late calls may still arrive; they must not change anything.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let world = shop.world();
    let standing = world.standing.len();
    match status {
        Status::Completed => prop_assert_eq!(standing, shape.names().len()),
        Status::Compensated => prop_assert_eq!(standing, 0),
        Status::Parked => prop_assert!(shape.forward.is_some_and(|forward| forward > 0)),
        other => prop_assert!(false, "{:?}", other),
    }
    prop_assert_eq!(world.overlaps, 0);
    prop_assert!(world.keys.values().all(|keys| keys.len() == 1), "{:?}", world.keys);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_saga_ends(
        shape in shapes(),
        scripts in prop::collection::vec((faults(), faults()), 9),
        outside in outside(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(&shape, &scripts, &outside))?;
    }
}
