//! A shop whose participants follow a test's script and record their calls.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::Journal;
use otel_saga::{RetryPolicy, Runtime, RuntimeBuilder, Saga, StepContext, StepError};
use tokio::time::{Instant, sleep};

/// The scripted result of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Fine,
    Refuse,
    /// The call is refused although an earlier attempt had an effect.
    Reject,
    /// The call has no effect, and the caller does not know that.
    Lose,
    /// The call has its effect, and the answer is lost.
    LoseAnswer,
    Panic,
    /// The call has its effect after this many milliseconds.
    Slow(u64),
    /// The caller receives no answer, and the request reaches the participant this many milliseconds later.
    Late(u64),
    /// The call has no effect, and the participant asks for a wait of this many seconds.
    Later(u64),
    /// The call has no effect, and the step gives up.
    GiveUp,
    Hang,
}

/// One call, as the participant saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) step: String,
    pub(crate) phase: Phase,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) at: Instant,
    /// The output that a compensation received.
    pub(crate) output: Option<String>,
}

/// The state of the participants.
#[derive(Debug, Default)]
pub(crate) struct World {
    script: HashMap<(String, Phase), VecDeque<Fault>>,
    pub(crate) calls: Vec<Call>,
    /// The keys of actions that have an effect.
    pub(crate) standing: BTreeSet<String>,
    refused: BTreeSet<String>,
    undone: BTreeSet<String>,
    /// The keys of all calls, by step.
    pub(crate) keys: BTreeMap<String, BTreeSet<String>>,
    pub(crate) at_once: usize,
    pub(crate) most_at_once: usize,
    /// The calls that are running, by the key of the action.
    running: Vec<String>,
    /// The number of calls that began while another one for the same action was running.
    pub(crate) overlaps: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shop(Arc<Mutex<World>>);

pub(crate) type Cx = StepContext<Shop>;

impl Shop {
    pub(crate) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sets the results of the next calls of this step; later calls succeed.
    pub(crate) fn script(&self, step: &str, phase: Phase, faults: impl IntoIterator<Item = Fault>) {
        self.world().script.insert((step.to_owned(), phase), faults.into_iter().collect());
    }

    /// Returns the calls in order: `step`, or `-step` for a compensation.
    pub(crate) fn called(&self) -> String {
        let name = |call: &Call| match call.phase {
            Phase::Action => call.step.clone(),
            _ => format!("-{}", call.step),
        };
        self.world().calls.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    async fn call(&self, cx: &Cx, output: Option<String>) -> Result<String, StepError> {
        let fault = {
            let mut world = self.world();
            world.at_once += 1;
            world.most_at_once = world.most_at_once.max(world.at_once);
            let key = cx.action_key();
            world.overlaps += usize::from(world.running.contains(&key));
            world.running.push(key);
            world.calls.push(Call {
                step: cx.step().to_owned(),
                phase: cx.phase(),
                key: cx.idempotency_key(),
                attempt: cx.attempt(),
                at: Instant::now(),
                output,
            });
            let name = format!("{}:{:?}:{}", cx.step(), cx.phase(), cx.instance());
            world.keys.entry(name).or_default().insert(cx.idempotency_key());
            let script = world.script.get_mut(&(cx.step().to_owned(), cx.phase()));
            script.and_then(VecDeque::pop_front).unwrap_or(Fault::Fine)
        };
        /// Counts down when the call ends or is dropped.
        struct Leave<'s>(&'s Shop, String);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let mut world = self.0.world();
                world.at_once -= 1;
                let place = world.running.iter().position(|key| *key == self.1);
                place.map(|place| world.running.swap_remove(place));
            }
        }
        let _leave = Leave(self, cx.action_key());
        match fault {
            Fault::Slow(millis) => sleep(Duration::from_millis(millis)).await,
            Fault::Late(millis) => {
                let (shop, late) = (self.clone(), cx.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(millis)).await;
                    let _ = shop.take_effect(&late, false);
                });
                return std::future::pending().await;
            }
            Fault::Hang => cx.cancelled().await,
            Fault::Panic => panic!("as the test told it"),
            Fault::Lose => return Err(StepError::uncertain("lost")),
            Fault::Later(seconds) => {
                return Err(StepError::uncertain("busy").retry_after(Duration::from_secs(seconds)));
            }
            Fault::Reject => return Err(StepError::refused("exists")),
            Fault::GiveUp => return Err(StepError::give_up("closed")),
            _ => {}
        }
        let done = self.take_effect(cx, fault == Fault::Refuse);
        if fault == Fault::LoseAnswer {
            return Err(std::io::Error::other("the answer was lost").into());
        }
        done
    }

    /// Implements the duties of a participant: it remembers each key and its answer.
    fn take_effect(&self, cx: &Cx, refuse: bool) -> Result<String, StepError> {
        let mut world = self.world();
        let key = cx.action_key();
        if cx.phase() == Phase::Compensation {
            world.standing.remove(&key);
            world.undone.insert(key);
            return Ok(String::new());
        }
        if refuse && !world.standing.contains(&key) {
            world.refused.insert(key.clone());
        }
        if world.refused.contains(&key) || world.undone.contains(&key) {
            return Err(StepError::refused("no").with_type("declined"));
        }
        world.standing.insert(key);
        Ok(format!("{}-{}", cx.step(), cx.attempt()))
    }
}

pub(crate) async fn act<A>(cx: Cx, input: u32, _: A) -> Result<String, StepError> {
    assert_eq!(input, 7);
    cx.state().call(&cx, None).await
}

pub(crate) async fn undo<A>(cx: Cx, _: u32, _: A, output: Option<String>) -> Result<(), StepError> {
    cx.state().call(&cx, output).await.map(|_| ())
}

pub(crate) fn policy() -> RetryPolicy {
    let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
    RetryPolicy::exponential(first, longest).with_attempts(3).without_jitter()
}

/// A saga of reserve, which is compensatable; pay, the pivot; and ship, a forward step.
pub(crate) fn order(version: u32) -> Saga<Shop, u32> {
    let mut saga = Saga::builder("order", version);
    let reserved = saga.step("reserve", (), act).retry(policy()).timeout(Duration::from_secs(5)).undo(undo);
    let paid = saga.step("pay", reserved, act).retry(policy()).timeout(Duration::from_secs(5)).pivot();
    saga.step("ship", (reserved, paid), act).retry(policy()).timeout(Duration::from_secs(5)).forward();
    saga.build().unwrap()
}

/// A saga of two parallel compensatable steps, and a third one.
pub(crate) fn trip() -> Saga<Shop, u32> {
    let mut saga = Saga::builder("trip", 1);
    let (flight, hotel) = saga.parallel(|g| {
        let flight = g.step("flight", (), act).retry(policy()).undo(undo);
        (flight, g.step("hotel", (), act).retry(policy()).undo(undo))
    });
    saga.step("car", (flight, hotel), act).retry(policy()).undo(undo);
    saga.build().unwrap()
}

pub(crate) fn builder(journal: &Arc<dyn Journal>, shop: &Shop, worker: &str) -> RuntimeBuilder<Shop> {
    Runtime::builder(Arc::clone(journal), shop.clone())
        .with_saga(&order(1))
        .with_saga(&trip())
        .with_worker(worker)
        .with_lease(Duration::from_secs(10))
}
