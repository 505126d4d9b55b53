//! A message broker in memory, with headers and acknowledgements: the least that instrumentation of a broker needs.
//!
//! It stands for no real broker; its terms are those of the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A message of a [`ToyBroker`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "tests construct it")]
pub struct ToyMessage {
    /// The subject that the message is published to.
    pub subject: String,
    /// The headers, in order. Names may repeat, values may be any bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub payload: Vec<u8>,
}

/// A delivered message, which its receiver acknowledges or returns.
#[derive(Debug)]
pub struct ToyDelivery {
    broker: ToyBroker,
    /// The message.
    pub message: ToyMessage,
    /// The number of the message at the broker, from 0.
    pub sequence: u64,
    /// The number of earlier deliveries of the message.
    pub redeliveries: u32,
}

/// The broker's refusal of a message or of an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToyError(String);

impl fmt::Display for ToyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ToyError {}

/// The fault of the next request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToyFault {
    /// The broker refuses it with this text.
    Refuse(String),
    /// The client library panics.
    Panic,
    /// The broker never answers, although it has done its part.
    Silence,
}

/// A broker in memory. Clones share it.
#[derive(Clone, Default)]
pub struct ToyBroker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, u32, ToyMessage)>,
    published: u64,
    acknowledged: Vec<u64>,
    fault: Option<ToyFault>,
    waiting: Vec<Waker>,
}

impl ToyBroker {
    /// Creates an empty broker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next publication or acknowledgement fail.
    pub fn fail_next(&self, fault: ToyFault) {
        self.state().fault = Some(fault);
    }

    /// Publishes a message and returns its number once the broker has confirmed it.
    ///
    /// # Errors
    /// Returns the broker's refusal.
    pub async fn publish(&self, message: ToyMessage) -> Result<u64, ToyError> {
        self.answer(|state| {
            let sequence = state.published;
            state.published += 1;
            state.deliver(sequence, 0, message);
            sequence
        })
        .await
    }

    /// Waits for the next message.
    pub async fn receive(&self) -> ToyDelivery {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Polls for the next message.
    pub fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<ToyDelivery> {
        let mut state = self.state();
        match state.queue.pop_front() {
            Some((sequence, redeliveries, message)) => {
                Poll::Ready(ToyDelivery { broker: self.clone(), message, sequence, redeliveries })
            }
            None => {
                state.waiting.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Returns the numbers of the acknowledged messages, in order.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<u64> {
        self.state().acknowledged.clone()
    }

    /// Does what a request asks for, and answers it.
    async fn answer<T>(&self, request: impl FnOnce(&mut State) -> T) -> Result<T, ToyError> {
        let fault = self.state().fault.take();
        match fault {
            Some(ToyFault::Refuse(text)) => Err(ToyError(text)),
            #[expect(clippy::panic, reason = "the fault that was asked for")]
            Some(ToyFault::Panic) => panic!("the client library panics"),
            Some(ToyFault::Silence) => {
                request(&mut self.state());
                std::future::pending().await
            }
            None => Ok(request(&mut self.state())),
        }
    }
}

impl State {
    fn deliver(&mut self, sequence: u64, redeliveries: u32, message: ToyMessage) {
        self.queue.push_back((sequence, redeliveries, message));
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl ToyDelivery {
    /// Acknowledges the message.
    ///
    /// # Errors
    /// Returns the broker's refusal.
    pub async fn ack(&self) -> Result<(), ToyError> {
        self.broker.answer(|state| state.acknowledged.push(self.sequence)).await
    }

    /// Returns the message to the broker, which delivers it again.
    ///
    /// # Errors
    /// Returns the broker's refusal.
    pub async fn nack(&self) -> Result<(), ToyError> {
        let redeliveries = self.redeliveries + 1;
        self.broker.answer(|state| state.deliver(self.sequence, redeliveries, self.message.clone())).await
    }
}

impl fmt::Debug for ToyBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToyBroker").field("queued", &self.state().queue.len()).finish_non_exhaustive()
    }
}
