//! The part of the broker in a processing loop: settling messages, and claiming lanes back.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): each settlement is a
//! `settle` operation, which the implementations of these traits record.

use std::task::Waker;
use std::time::Duration;

/// The settlement of messages by a processing loop, as the user has chosen it
/// ([`Acknowledgement`](crate::Acknowledgement)).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot settle messages of type `{M}` with errors of type `{E}`",
    note = "transport crates implement `Settler`; use `NoSettlement` for messages that need none"
)]
pub trait Settler<M, E> {
    /// The parts of a message that its settlement needs. The handler owns the message.
    type Receipt;

    /// Takes the parts from a message before it is handled.
    fn receipt(&self, message: &M) -> Self::Receipt;

    /// Settles a message after its handler has ended. Called in the order of the lane.
    ///
    /// # Errors
    /// Returns the error of the settlement, which ends the loop.
    fn settle(&self, receipt: Self::Receipt, succeeded: bool) -> impl Future<Output = Result<(), E>>;
}

/// The gate through which a broker claims lanes back while their messages are processed, as Kafka does in a rebalance.
pub trait LaneGate<L> {
    /// Returns true while the broker waits for lanes of this loop, until [`release`](Self::release). Nothing is received
    /// meanwhile, and nothing that waits in these lanes is started.
    fn is_closing(&self) -> bool {
        false
    }

    /// Keeps the waker of the loop, which is to be woken when the broker claims lanes back. Not necessary if the broker
    /// claims them only in a poll of the loop's stream.
    fn register(&self, waker: &Waker) {
        let _ = waker;
    }

    /// Returns true if the broker waits for this lane.
    fn closes(&self, lane: &L) -> bool {
        let _ = lane;
        true
    }

    /// Returns true if the broker has given the lanes to another consumer already.
    fn is_lost(&self) -> bool {
        false
    }

    /// Releases the lanes that the broker waits for. Called when what ran of them has been processed or dropped.
    fn release(&self) {}

    /// Stops the delivery of messages of this lane, and returns true if the broker can do that. Called when
    /// [`Lanes::with_read_ahead`](crate::Lanes::with_read_ahead) messages wait and no handler ends for a second: the loop
    /// then polls on, for other lanes and for claims. Default: false, so that it receives nothing until fewer messages
    /// wait.
    fn pause(&self, lane: &L) -> bool {
        let _ = lane;
        false
    }

    /// Continues the delivery of messages of a lane that was paused.
    fn resume(&self, lane: &L) {
        let _ = lane;
    }

    /// Waits for this time.
    fn delay(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// The settler of messages that need no settlement by the loop.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to configure")]
pub struct NoSettlement;

impl<M, E> Settler<M, E> for NoSettlement {
    type Receipt = ();

    fn receipt(&self, _: &M) {}

    async fn settle(&self, (): (), _: bool) -> Result<(), E> {
        Ok(())
    }
}

/// The gate of a broker that never claims lanes back.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to configure")]
pub struct OpenGate;

impl<L> LaneGate<L> for OpenGate {
    async fn delay(&self, _: Duration) {
        std::future::pending().await
    }
}
