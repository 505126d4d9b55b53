//! SIGTERM and Ctrl-C as a future for the graceful shutdown of servers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::health::Health;

/// A future that resolves when the process receives a termination signal. Clones resolve together; pass them to
/// `with_graceful_shutdown` of axum and `serve_with_shutdown` of tonic.
#[derive(Clone)]
#[must_use = "futures do nothing unless polled"]
pub struct ShutdownSignal(Shared<BoxFuture<'static, ()>>);

impl fmt::Debug for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShutdownSignal")
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_unpin(cx)
    }
}

impl ShutdownSignal {
    /// Starts to listen. `delay` is the time between becoming not ready and resolving.
    pub(crate) fn listen(runtime: &Handle, health: Health, delay: Duration) -> Self {
        let (told, signal) = oneshot::channel();
        let told_to_stop = {
            let _entered = runtime.enter();
            told_to_stop()
        };
        match told_to_stop {
            Ok(told_to_stop) => {
                runtime.spawn(async move {
                    told_to_stop.await;
                    health.begin_shutdown();
                    tokio::time::sleep(delay).await;
                    // The receiver is gone if all futures were dropped.
                    let _ = told.send(());
                });
                Self(
                    async move {
                        // The telemetry was dropped before a signal arrived, so that none will be reported.
                        if signal.await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                    .boxed()
                    .shared(),
                )
            }
            Err(error) => {
                tracing::warn!(%error, "signals cannot be listened to; the system's default handling stays");
                Self(std::future::pending().boxed().shared())
            }
        }
    }
}

/// Registers the handlers immediately; the returned future waits for one of the signals.
#[cfg(unix)]
fn told_to_stop() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(windows)]
fn told_to_stop() -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    let mut close = tokio::signal::windows::ctrl_close()?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = close.recv() => {}
        }
    })
}
