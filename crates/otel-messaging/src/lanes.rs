//! The concurrent processing loop: messages of different lanes run side by side, those of one lane in order.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! message has its own `process` operation.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;

use crate::for_each::process_and_settle;
use crate::handler_outcome::HandlerOutcome;
use crate::inbound::InboundMessage;
use crate::settler::{LaneGate, Settler};

/// The time without an ended handler after which a loop with its fill of waiting messages pauses their lanes. A pause makes
/// the broker's client fetch again, so it is left to lanes that are stuck.
const STALL: Duration = Duration::from_secs(1);

/// The default number of messages that may wait.
const READ_AHEAD: usize = 1024;

/// The limits of a concurrent processing loop.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    at_once: usize,
    read_ahead: Option<usize>,
    drain_deadline: Duration,
}

impl Lanes {
    /// Runs at most `at_once` handlers at once (at least one), each in its own lane.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1), read_ahead: None, drain_deadline: Duration::from_secs(10) }
    }

    /// Sets the number of messages (at least one) that may wait for their lane or for a free handler. Default: 1,024, or
    /// the transport's ([`with_short_read_ahead`](Self::with_short_read_ahead)). A broker that delivers the messages of
    /// one lane after those of another needs a larger one for both to run. If so many wait and no handler ends for a
    /// second, a broker that can pause lanes, as Kafka can, pauses those that wait: then each further lane may have one
    /// more message.
    #[must_use]
    pub fn with_read_ahead(mut self, messages: usize) -> Self {
        self.read_ahead = Some(messages.max(1));
        self
    }

    /// Lets as many messages wait as handlers run at once, and at most 1,024, unless
    /// [`with_read_ahead`](Self::with_read_ahead) has set another number. This is the default of transports whose broker
    /// delivers a message again if it waits too long.
    #[must_use]
    pub fn with_short_read_ahead(mut self) -> Self {
        self.read_ahead.get_or_insert(self.at_once.min(READ_AHEAD));
        self
    }

    /// Sets the time that running handlers may take when the broker claims their lane back. After it, they are dropped,
    /// and their spans end as `cancelled`. Messages that wait in the lane are not started. Default: 10 s.
    #[must_use]
    pub fn with_drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Returns the time that running handlers may take when the broker claims their lane back.
    #[must_use]
    pub fn drain_deadline(&self) -> Duration {
        self.drain_deadline
    }
}

impl From<usize> for Lanes {
    fn from(at_once: usize) -> Self {
        Self::new(at_once)
    }
}

/// Processes messages of different lanes concurrently and those of one lane in order, each inside its `process`
/// operation, until `stop` completes or the stream ends. A lane is a partition, a subject or a routing key.
///
/// All handlers run in the task that polls the future. After `stop`, an error or the end of the stream, all
/// received messages are processed before this function returns. When the broker claims lanes back, their waiting messages
/// are forgotten, and nothing is received until their running handlers have ended or the deadline has passed.
///
/// # Errors
/// Returns the first error of receiving or of settling.
pub async fn for_each_in_lanes<S, M, E, L, X, F>(
    messages: S,
    lane_of: impl Fn(&M) -> L,
    limits: Lanes,
    gate: &impl LaneGate<L>,
    settler: &X,
    stop: impl Future<Output = ()>,
    handler: impl Fn(M) -> F,
) -> Result<(), E>
where
    S: Stream<Item = Result<M, E>>,
    M: InboundMessage,
    L: Hash + Eq + Clone,
    X: Settler<M, E>,
    F: Future<Output: HandlerOutcome>,
{
    let (mut messages, mut stop) = (pin!(messages), pin!(stop));
    let (mut deadline, mut stall) = (pin!(None), pin!(None));
    let handler = &handler;
    let run = |(lane, message): (L, M), registration| async move {
        let work = process_and_settle(message, settler, handler);
        (lane, Abortable::new(work, registration).await.unwrap_or(Ok(())))
    };
    let mut running = FuturesUnordered::new();
    let mut queues = Queues::new();
    let mut end = None;
    let (mut ended_handlers, mut ended_before) = (0_u64, 0);
    loop {
        let closing = gate.is_closing();
        if closing {
            queues.forget_waiting(|lane| gate.closes(lane), |lane| gate.resume(lane));
            if !queues.has_any(|lane| gate.closes(lane)) {
                gate.release();
                deadline.set(None);
                continue;
            }
            if gate.is_lost() {
                queues.abort(|lane| gate.closes(lane));
            } else if deadline.is_none() {
                deadline.set(Some(gate.delay(limits.drain_deadline)));
            }
        }
        if end.is_some() && queues.is_empty() {
            return end.unwrap_or(Ok(()));
        }
        while running.len() < limits.at_once
            && let Some((next, registration)) = queues.start_next()
        {
            running.push(run(next, registration));
        }
        let has_room = queues.has_room(limits.read_ahead.unwrap_or(READ_AHEAD), gate);
        let receives = end.is_none() && !closing && has_room;
        if end.is_none() && !closing && !has_room && stall.is_none() {
            stall.set(Some(gate.delay(STALL)));
            ended_before = ended_handlers;
        }
        let stopped = end.is_some();
        let step = poll_fn(|cx| {
            gate.register(cx.waker());
            if !stopped && stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Step::Stop);
            }
            if let Poll::Ready(Some((lane, settled))) = running.poll_next_unpin(cx) {
                return Poll::Ready(Step::Done(lane, settled));
            }
            if let Some(deadline) = deadline.as_mut().as_pin_mut()
                && deadline.poll(cx).is_ready()
            {
                return Poll::Ready(Step::Deadline);
            }
            if let Some(stall) = stall.as_mut().as_pin_mut()
                && stall.poll(cx).is_ready()
            {
                return Poll::Ready(Step::Stall);
            }
            if receives && let Poll::Ready(received) = messages.as_mut().poll_next(cx) {
                return Poll::Ready(Step::Received(received));
            }
            // The poll may have run the broker's callbacks, and so may a poll of another loop.
            if !closing && gate.is_closing() { Poll::Ready(Step::Closing) } else { Poll::Pending }
        });
        match step.await {
            Step::Stop | Step::Received(None) => end = Some(Ok(())),
            Step::Closing => {}
            Step::Received(Some(Err(error))) => end = Some(Err(error)),
            Step::Received(Some(Ok(message))) => queues.push(lane_of(&message), message),
            Step::Deadline => {
                queues.abort(|lane| gate.closes(lane));
                deadline.set(None);
            }
            Step::Stall => {
                stall.set(None);
                if !has_room && ended_before == ended_handlers {
                    queues.pause_waiting(gate);
                }
            }
            Step::Done(lane, settled) => {
                ended_handlers += 1;
                queues.finish(lane, |lane| gate.resume(lane));
                if let Err(error) = settled
                    && !matches!(end, Some(Err(_)))
                {
                    end = Some(Err(error));
                }
            }
        }
    }
}

enum Step<L, M, E> {
    Stop,
    Closing,
    Deadline,
    Stall,
    Received(Option<Result<M, E>>),
    Done(L, Result<(), E>),
}

/// The messages that wait or run, by lane.
struct Queues<L, M> {
    lanes: HashMap<L, Queue<M>>,
    /// The lanes that have a waiting message and no running one, in the order in which they got it.
    ready: VecDeque<L>,
    /// The number of waiting messages.
    waiting: usize,
    /// The number of paused lanes.
    paused: usize,
}

struct Queue<M> {
    waiting: VecDeque<M>,
    running: Option<AbortHandle>,
    is_paused: bool,
}

impl<L: Hash + Eq + Clone, M> Queues<L, M> {
    fn new() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), waiting: 0, paused: 0 }
    }

    fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    fn has_any(&self, which: impl Fn(&L) -> bool) -> bool {
        self.lanes.keys().any(which)
    }

    fn push(&mut self, lane: L, message: M) {
        self.waiting += 1;
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.waiting.push_back(message);
            return;
        }
        self.ready.push_back(lane.clone());
        self.lanes
            .insert(lane, Queue { waiting: VecDeque::from([message]), running: None, is_paused: false });
    }

    /// Takes the next message that may run.
    fn start_next(&mut self) -> Option<((L, M), futures_util::future::AbortRegistration)> {
        let lane = self.ready.pop_front()?;
        let queue = self.lanes.get_mut(&lane)?;
        let message = queue.waiting.pop_front()?;
        self.waiting -= 1;
        let (handle, registration) = AbortHandle::new_pair();
        queue.running = Some(handle);
        Some(((lane, message), registration))
    }

    /// Notes that the running message of a lane has ended.
    fn finish(&mut self, lane: L, resume: impl Fn(&L)) {
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        queue.running = None;
        if queue.waiting.is_empty() {
            if queue.is_paused {
                self.paused -= 1;
                resume(&lane);
            }
            self.lanes.remove(&lane);
        } else {
            self.ready.push_back(lane);
        }
    }

    /// Returns true if a message may be received. If `limit` messages wait, that is so while lanes are paused, and then all
    /// lanes with waiting messages. They are resumed when half of the messages have been started.
    fn has_room(&mut self, limit: usize, gate: &impl LaneGate<L>) -> bool {
        if self.paused == 0 {
            return self.waiting < limit;
        }
        if self.waiting <= limit / 2 {
            for (lane, queue) in self.lanes.iter_mut().filter(|(_, queue)| queue.is_paused) {
                gate.resume(lane);
                queue.is_paused = false;
            }
            self.paused = 0;
        }
        self.waiting < limit || self.pause_waiting(gate)
    }

    /// Pauses all lanes with waiting messages. Returns false if one cannot be paused.
    fn pause_waiting(&mut self, gate: &impl LaneGate<L>) -> bool {
        let unpaused = |queue: &Queue<M>| !queue.is_paused && !queue.waiting.is_empty();
        for (lane, queue) in self.lanes.iter_mut().filter(|(_, queue)| unpaused(queue)) {
            if !gate.pause(lane) {
                return false;
            }
            queue.is_paused = true;
            self.paused += 1;
        }
        true
    }

    /// Forgets what waits in these lanes. A lane with a running message remains until that has ended.
    fn forget_waiting(&mut self, which: impl Fn(&L) -> bool, resume: impl Fn(&L)) {
        self.ready.retain(|lane| !which(lane));
        self.lanes.retain(|lane, queue| {
            if !which(lane) {
                return true;
            }
            self.waiting -= queue.waiting.len();
            queue.waiting.clear();
            if std::mem::take(&mut queue.is_paused) {
                self.paused -= 1;
                resume(lane);
            }
            queue.running.is_some()
        });
    }

    /// Aborts what runs in these lanes.
    fn abort(&self, which: impl Fn(&L) -> bool) {
        let lanes = self.lanes.iter().filter(|(lane, _)| which(lane));
        lanes.filter_map(|(_, queue)| queue.running.as_ref()).for_each(AbortHandle::abort);
    }
}
