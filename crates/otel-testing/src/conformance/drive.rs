//! Calls of a request-response transport, as a scenario's flow requires.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use opentelemetry::Context as TelemetryContext;
use opentelemetry::trace::FutureExt as _;

use super::{CallResult, Flow, Role};

/// Makes a call on a task of its own, in this context, as a buffer between two layers does.
///
/// # Panics
/// If the call does.
pub async fn on_task<F>(context: TelemetryContext, call: F) -> F::Output
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    match tokio::spawn(call.with_context(context)).await {
        Ok(output) => output,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Flow {
    /// Drives a call to its response, or returns the result of the flow that ends before. `polls` is the number of polls
    /// after which the call is pending forever in [`Flow::DroppedAtAwait`].
    ///
    /// # Errors
    /// Returns the result of a call that has no response.
    ///
    /// # Panics
    /// If a call that has to be pending is not.
    pub async fn drive<T, E: ToString>(
        self,
        call: impl Future<Output = Result<T, E>>,
        polls: usize,
    ) -> Result<T, CallResult> {
        let mut call = pin!(call);
        match self {
            Self::DroppedBeforePoll => return Err(CallResult::Cancelled(Vec::new())),
            Self::DroppedAtAwait => {
                for _ in 0..polls {
                    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    assert!(polled.is_pending(), "the call waits");
                }
                return Err(CallResult::Cancelled(Vec::new()));
            }
            _ => {}
        }
        let caught =
            std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
                Err(_) => Poll::Ready(None),
                Ok(polled) => polled.map(Some),
            });
        match caught.await {
            None => Err(CallResult::Panicked),
            Some(Err(error)) => Err(CallResult::Error(error.to_string())),
            Some(Ok(response)) => Ok(response),
        }
    }

    /// Returns true if the caller drops the response's body after its first frame. A server's peer is such a caller; the
    /// body of a client whose peer goes away fails instead.
    #[must_use]
    pub fn drops_body(self, role: Role) -> bool {
        self == Self::DroppedByUser || (self == Self::DroppedByPeer && role == Role::Inbound)
    }
}
