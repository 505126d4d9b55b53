//! The processing loops, over messages of the toy broker.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use futures_util::StreamExt as _;
use otel_messaging::{
    Acknowledgement, LaneGate, Lanes, NoSettlement, OpenGate, Settler, for_each, for_each_in_lanes,
};
use otel_testing::Recorder;
use otel_testing::toy_broker::{ToyBroker, ToyError, ToyFault, ToyMessage};
use tokio::sync::{Notify, Semaphore};

use crate::support::defaults;
use crate::toy::{Client, Message, Settling};

/// More than the loops need on a busy machine.
const LONG: Duration = Duration::from_secs(30);

async fn publish(broker: &ToyBroker, subjects: &[&str]) {
    for subject in subjects {
        let message = ToyMessage { subject: (*subject).to_owned(), ..ToyMessage::default() };
        broker.publish(message).await.unwrap();
    }
}

async fn setup(subjects: &[&str]) -> (Recorder, Client) {
    let (recorder, broker) = (Recorder::new(), ToyBroker::new());
    publish(&broker, subjects).await;
    let client = Client::new(&broker, defaults(&recorder));
    (recorder, client)
}

fn shared(client: &Client) -> impl futures_util::Stream<Item = Result<Arc<Message>, ToyError>> {
    client.messages().map(|message| message.map(Arc::new))
}

fn lane(message: &Arc<Message>) -> String {
    message.inner.message.subject.clone()
}

#[tokio::test]
async fn a_sequential_loop_acknowledges_what_succeeds_and_finishes_what_it_has_begun() {
    for (mode, acknowledged) in [
        (Acknowledgement::Never, vec![]),
        (Acknowledgement::OnSuccess, vec![0, 2, 1]),
        (Acknowledgement::StoredOnSuccess, vec![0, 2, 1]),
    ] {
        let (recorder, client) = setup(&["a", "b", "c"]).await;
        let (stop, seen) = (Notify::new(), Cell::new(0));
        let handler = async |message: Arc<Message>| {
            seen.set(seen.get() + 1);
            let wanted = if mode == Acknowledgement::Never { 3 } else { 4 };
            if seen.get() == wanted {
                stop.notify_one();
            }
            tokio::task::yield_now().await;
            let fails = message.inner.message.subject == "b" && message.inner.redeliveries == 0;
            if fails { Err("no") } else { Ok(()) }
        };
        let settling = Settling(mode);
        let running = for_each(shared(&client), stop.notified(), &settling, handler);
        assert_eq!(tokio::time::timeout(LONG, running).await.unwrap(), Ok(()), "{mode:?}");
        assert_eq!(client.broker.acknowledged(), acknowledged, "{mode:?}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn an_error_of_settling_or_the_end_of_the_stream_ends_a_loop() {
    let (recorder, client) = setup(&["a", "b"]).await;
    let refuse = async |_| client.broker.fail_next(ToyFault::Refuse("no".to_owned()));
    let settling = Settling(Acknowledgement::OnSuccess);
    let stop = std::future::pending();
    let ended = for_each(shared(&client), stop, &settling, refuse).await;
    assert_eq!(ended.unwrap_err().to_string(), "no");
    let stop = std::future::pending();
    let ended =
        for_each_in_lanes(shared(&client), lane, Lanes::new(2), &OpenGate, &settling, stop, refuse).await;
    assert_eq!(ended.unwrap_err().to_string(), "no");

    publish(&client.broker, &["e"]).await;
    let stop = Notify::new();
    let stop_and_refuse = async |_| {
        stop.notify_one();
        settle().await;
        client.broker.fail_next(ToyFault::Refuse("late".to_owned()));
    };
    let ended = for_each_in_lanes(
        shared(&client),
        lane,
        Lanes::new(2),
        &OpenGate,
        &settling,
        stop.notified(),
        stop_and_refuse,
    );
    assert_eq!(ended.await.unwrap_err().to_string(), "late", "after the stop as well");

    publish(&client.broker, &["c", "d"]).await;
    let handled = Cell::new(0);
    let count = async |_| handled.set(handled.get() + 1);
    let stop = std::future::pending();
    assert_eq!(for_each(shared(&client).take(1), stop, &NoSettlement, count).await, Ok(()));
    let (one, stop) = (shared(&client).take(1), std::future::pending());
    let ended = for_each_in_lanes(one, lane, Lanes::new(2), &OpenGate, &NoSettlement, stop, count).await;
    assert_eq!((ended, handled.get()), (Ok(()), 2));
    recorder.assert_clean();
}

/// Runs handlers that wait for `go`, and gives the script the subjects that have begun.
async fn in_lanes<X: Settler<Arc<Message>, ToyError>>(
    client: &Client,
    lanes: Lanes,
    gate: &impl LaneGate<String>,
    settler: &X,
    script: impl AsyncFnOnce(&RefCell<Vec<String>>, &Semaphore, &Notify),
) -> Result<(), ToyError> {
    let (begun, go, stop) = (RefCell::new(Vec::new()), Semaphore::new(0), Notify::new());
    let handler = async |message: Arc<Message>| {
        begun.borrow_mut().push(lane(&message));
        go.acquire().await.unwrap().forget();
    };
    let running = for_each_in_lanes(shared(client), lane, lanes, gate, settler, stop.notified(), handler);
    let both = async { tokio::join!(running, script(&begun, &go, &stop)).0 };
    tokio::time::timeout(LONG, both).await.unwrap()
}

/// Lets all other tasks of the test run until nothing changes any more.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn lanes_limit_what_runs_and_not_what_waits() {
    let (recorder, client) = setup(&["a", "a", "a", "a", "b", "c", "d"]).await;
    let script = async |begun: &RefCell<Vec<String>>, go: &Semaphore, stop: &Notify| {
        settle().await;
        assert_eq!(*begun.borrow(), ["a", "b", "c"], "behind a backlog of one lane, others run");
        go.add_permits(1);
        settle().await;
        assert_eq!(*begun.borrow(), ["a", "b", "c", "d"], "a lane that has waited longer comes first");
        go.add_permits(6);
        settle().await;
        assert_eq!(begun.borrow().len(), 7);
        stop.notify_one();
    };
    let settling = Settling(Acknowledgement::OnSuccess);
    assert_eq!(in_lanes(&client, Lanes::new(3), &OpenGate, &settling, script).await, Ok(()));
    let of_a: Vec<_> = client.broker.acknowledged().into_iter().filter(|number| *number < 4).collect();
    assert_eq!(of_a, [0, 1, 2, 3], "each lane in its order");
    recorder.assert_clean();
}

#[tokio::test]
async fn reading_ahead_is_bounded_and_what_was_read_is_finished_after_the_stop() {
    let (recorder, client) = setup(&["a"; 10]).await;
    let received = || recorder.metric("messaging.client.consumed.messages").sum();
    let lanes = Lanes::new(1).with_read_ahead(2);
    let script = async |begun: &RefCell<Vec<String>>, go: &Semaphore, stop: &Notify| {
        settle().await;
        assert_eq!((begun.borrow().len(), received()), (1, 3.0));
        stop.notify_one();
        settle().await;
        go.add_permits(3);
    };
    let settling = Settling(Acknowledgement::OnSuccess);
    assert_eq!(in_lanes(&client, lanes, &OpenGate, &settling, script).await, Ok(()));
    assert_eq!((client.broker.acknowledged(), received()), (vec![0, 1, 2], 3.0));
    recorder.assert_clean();
}

/// A broker that claims the lane `a` back, and that can pause lanes.
#[derive(Default)]
struct Claim {
    closing: AtomicBool,
    lost: AtomicBool,
    released: Notify,
    waker: Mutex<Option<Waker>>,
    paused: RefCell<Vec<(String, bool)>>,
}

impl LaneGate<String> for Claim {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn register(&self, waker: &Waker) {
        *self.waker.lock().unwrap() = Some(waker.clone());
    }

    fn closes(&self, lane: &String) -> bool {
        lane == "a"
    }

    fn pause(&self, lane: &String) -> bool {
        self.paused.borrow_mut().push((lane.clone(), true));
        true
    }

    fn resume(&self, lane: &String) {
        self.paused.borrow_mut().push((lane.clone(), false));
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    fn release(&self) {
        self.closing.store(false, Ordering::SeqCst);
        self.released.notify_one();
    }

    async fn delay(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Claims the lane back while two messages of it and one of another are in the loop.
async fn claim(gate: &Claim) {
    settle().await;
    gate.closing.store(true, Ordering::SeqCst);
    gate.waker.lock().unwrap().take().unwrap().wake();
    settle().await;
}

#[tokio::test]
async fn a_claimed_lane_is_released_when_what_runs_of_it_has_ended() {
    let (recorder, client) = setup(&["a", "b", "a"]).await;
    let gate = Claim::default();
    let script = async |begun: &RefCell<Vec<String>>, go: &Semaphore, stop: &Notify| {
        claim(&gate).await;
        publish(&client.broker, &["c"]).await;
        settle().await;
        assert_eq!(*begun.borrow(), ["a", "b"], "nothing is received meanwhile");
        assert!(gate.is_closing(), "the first message of the lane runs");
        go.add_permits(2);
        gate.released.notified().await;
        settle().await;
        assert_eq!(*begun.borrow(), ["a", "b", "c"], "what waited in the lane is not started");
        go.add_permits(1);
        stop.notify_one();
    };
    let settling = Settling(Acknowledgement::OnSuccess);
    assert_eq!(in_lanes(&client, Lanes::new(4), &gate, &settling, script).await, Ok(()));
    assert_eq!(client.broker.acknowledged(), [0, 1, 3]);
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_stuck_lane_is_paused_so_that_others_are_received() {
    let (recorder, client) = setup(&["a", "a", "a", "b", "c"]).await;
    let gate = Claim::default();
    let lanes = Lanes::new(3).with_read_ahead(2);
    let script = async |begun: &RefCell<Vec<String>>, go: &Semaphore, stop: &Notify| {
        settle().await;
        assert_eq!(*begun.borrow(), ["a"]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(*begun.borrow(), ["a", "b", "c"]);
        assert_eq!(*gate.paused.borrow(), [("a".to_owned(), true)]);
        // Claims are still noticed.
        claim(&gate).await;
        assert_eq!(gate.paused.borrow().last(), Some(&("a".to_owned(), false)));
        go.add_permits(3);
        stop.notify_one();
    };
    let settling = Settling(Acknowledgement::OnSuccess);
    assert_eq!(in_lanes(&client, lanes, &gate, &settling, script).await, Ok(()));
    assert_eq!(client.broker.acknowledged(), [0, 3, 4]);
    assert_eq!(gate.paused.borrow().len(), 2);
    recorder.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_or_where_the_lane_is_lost_its_messages_are_dropped() {
    for lost in [false, true] {
        let (recorder, client) = setup(&["a", "b", "a"]).await;
        let gate = Claim::default();
        gate.lost.store(lost, Ordering::SeqCst);
        let lanes = Lanes::new(4).with_drain_deadline(Duration::from_secs(5));
        let begun_at = tokio::time::Instant::now();
        let script = async |begun: &RefCell<Vec<String>>, go: &Semaphore, stop: &Notify| {
            claim(&gate).await;
            gate.released.notified().await;
            let waited = begun_at.elapsed();
            assert_eq!(waited >= Duration::from_secs(5), !lost, "{waited:?}");
            publish(&client.broker, &["c"]).await;
            settle().await;
            assert_eq!(*begun.borrow(), ["a", "b", "c"], "other lanes go on, what waited is forgotten");
            go.add_permits(2);
            stop.notify_one();
        };
        let settling = Settling(Acknowledgement::OnSuccess);
        assert_eq!(in_lanes(&client, lanes, &gate, &settling, script).await, Ok(()));
        assert_eq!(client.broker.acknowledged(), [1, 3], "what was dropped is not acknowledged");
        let cancelled = recorder.metric("messaging.process.duration").with("error.type", "cancelled");
        assert_eq!(cancelled.count(), 1);
        recorder.assert_clean();
    }
}
