//! The ways in which the messages of a soak are handled, and their outcomes.

use crate::class::Tally;
use crate::random::Random;

/// The error of a handler.
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerError;

/// The way in which a message is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Success.
    Success,
    /// Success, with a span that the handler finishes itself.
    Manual,
    /// An error of the handler.
    Failed,
    /// A panic.
    Panic,
    /// The handler is dropped midway.
    Dropped,
}

impl End {
    /// Returns the way for the message with this number.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        match Random::new(!seed, number).below(100) {
            0..60 => Self::Success,
            60..88 => Self::Manual,
            88..92 => Self::Failed,
            92..96 => Self::Panic,
            _ => Self::Dropped,
        }
    }

    /// Counts a processed message.
    pub fn count(self, observed: &Tally) {
        let error = match self {
            Self::Success | Self::Manual => None,
            Self::Failed => Some(failure().to_owned()),
            Self::Panic => Some("panic".to_owned()),
            Self::Dropped => Some("cancelled".to_owned()),
        };
        observed.count("process", error);
    }
}

impl HandlerError {
    /// Creates the error of the handler of a message.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Default for HandlerError {
    fn default() -> Self {
        Self::new()
    }
}

/// The `error.type` of a failed handler.
fn failure() -> &'static str {
    std::any::type_name::<HandlerError>()
}

/// Handles a message of any broker, and evaluates to nothing. `$work` is a future without an output.
#[macro_export]
macro_rules! handle {
    ($end:expr, $message:expr, $work:expr) => {
        match $end {
            $crate::End::Manual => {
                let operation = $message.processing();
                operation.run_with($work, |()| otel_operation::Outcome::ok()).await;
            }
            $crate::End::Failed => {
                let run = $message.process(async |_| {
                    $work.await;
                    Err::<(), _>($crate::HandlerError::new())
                });
                let _ = run.await;
            }
            $crate::End::Panic => {
                // `resume_unwind` does not call the panic hook, because there are thousands of panics.
                let run = $message.process(async |_| -> () {
                    $work.await;
                    std::panic::resume_unwind(Box::new("planned"))
                });
                let run = std::panic::AssertUnwindSafe(run);
                let _ = futures_util::FutureExt::catch_unwind(run).await;
            }
            $crate::End::Dropped => {
                // Dropped after the work, at a point where the handler waits.
                let (done, waits) = futures_util::future::abortable(std::future::pending::<()>());
                let run = std::pin::pin!($message.process(async |_| {
                    $work.await;
                    waits.abort();
                    std::future::pending::<()>().await
                }));
                futures_util::future::select(run, std::pin::pin!(done)).await;
            }
            _ => $message.process(async |_| $work.await).await,
        }
    };
}
