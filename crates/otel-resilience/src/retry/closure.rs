//! Retries of a closure: publishing to a broker, a query, any other call that is no HTTP request.
//!
//! Follows the [messaging semantic conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): each
//! attempt to publish is a `send` span of its own.

use opentelemetry::trace::FutureExt;
use otel_operation::{FinishOnOutput, Operation, OperationFuture, Outcome};

use super::Retry;
use super::logical::LogicalCall;
use super::progress::{Failure, Progress};
use crate::outcome;

impl Retry {
    /// Runs `attempt` until it succeeds, `is_transient` returns false for its error, or a limit is reached. The spans that the
    /// attempts start are children of the caller's span, or of the policy's own. The last error is returned.
    ///
    /// ```
    /// # async fn publish() -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn run() -> Result<(), std::io::Error> {
    /// let retry = otel_resilience::Retry::new("publish order");
    /// retry.run(publish, |error| error.kind() == std::io::ErrorKind::TimedOut).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the error of the last attempt.
    pub async fn run<T, E, F>(
        &self,
        attempt: impl FnMut() -> F,
        is_transient: impl Fn(&E) -> bool,
    ) -> Result<T, E>
    where
        E: 'static,
        F: Future<Output = Result<T, E>>,
    {
        let call = self.start_call();
        OperationFuture::new(self.run_attempts(attempt, is_transient), call).await.0
    }

    async fn run_attempts<T, E, F>(
        &self,
        mut attempt: impl FnMut() -> F,
        is_transient: impl Fn(&E) -> bool,
    ) -> Finished<T, E>
    where
        E: 'static,
        F: Future<Output = Result<T, E>>,
    {
        let mut progress = Progress::begin(self);
        let context = progress.context().clone();
        loop {
            // The closure itself runs in the context as well: it can start a span before its future is polled.
            let future = {
                let _attached = context.clone().attach();
                attempt().with_context(context.clone())
            };
            let result = future.await;
            let delay = match &result {
                Err(error) if is_transient(error) => progress
                    .resend(self, &Failure { error_type: outcome::error_type(error).into(), pushback: None }),
                _ => None,
            };
            match delay {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Finished(result),
            }
        }
    }
}

/// The result of a closure's last attempt.
struct Finished<T, E>(Result<T, E>);

impl<T, E: 'static> FinishOnOutput<Finished<T, E>> for LogicalCall {
    type Output = Finished<T, E>;

    fn complete(operation: Option<Operation<Self>>, output: Self::Output) -> Self::Output {
        if let Some(operation) = operation {
            let outcome = match &output.0 {
                Ok(_) => Outcome::ok(),
                Err(error) => Outcome::error(outcome::error_type(error)),
            };
            operation.finish(&outcome);
        }
        output
    }
}
