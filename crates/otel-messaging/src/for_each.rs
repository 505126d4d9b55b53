//! The sequential processing loop over a stream of messages.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans": each
//! message has its own `process` operation.

use std::pin::pin;

use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};

use crate::handler_outcome::HandlerOutcome;
use crate::inbound::{InboundMessage, start_processing};
use crate::settler::Settler;

/// Processes messages sequentially, each inside its `process` operation, until `stop` completes or the stream ends.
///
/// A message that is being processed when `stop` completes is finished first. The handler's output is recorded, then
/// the message is settled.
///
/// # Errors
/// Returns the first error of receiving or of settling.
pub async fn for_each<S, M, E, X, F>(
    messages: S,
    stop: impl Future<Output = ()>,
    settler: &X,
    mut handler: impl FnMut(M) -> F,
) -> Result<(), E>
where
    S: Stream<Item = Result<M, E>>,
    M: InboundMessage,
    X: Settler<M, E>,
    F: Future<Output: HandlerOutcome>,
{
    let (mut messages, mut stop) = (pin!(messages), pin!(stop));
    loop {
        let message = match select(stop.as_mut(), messages.next()).await {
            Either::Left(((), _)) | Either::Right((None, _)) => return Ok(()),
            Either::Right((Some(message), _)) => message?,
        };
        process_and_settle(message, settler, &mut handler).await?;
    }
}

/// Processes one message and settles it.
pub(crate) async fn process_and_settle<M, E, X, F>(
    message: M,
    settler: &X,
    handler: impl FnOnce(M) -> F,
) -> Result<(), E>
where
    M: InboundMessage,
    X: Settler<M, E>,
    F: Future<Output: HandlerOutcome>,
{
    let receipt = settler.receipt(&message);
    let mut succeeded = false;
    let processing = start_processing(&message);
    // The handler is called inside the operation, because it may run code before it returns its future.
    let handled = async { handler(message).await };
    let outcome = |output: &F::Output| {
        let outcome = output.outcome();
        succeeded = outcome.error_type().is_none();
        outcome
    };
    processing.run_with(handled, outcome).await;
    settler.settle(receipt, succeeded).await
}
