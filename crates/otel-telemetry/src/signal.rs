//! SIGTERM and Ctrl-C as a future that servers take for their graceful shutdown.

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

/// Resolves when the process was told to stop. Clones resolve together; hand them to axum's and tonic's
/// `with_graceful_shutdown` or `serve_with_shutdown`.
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
    /// Listens from now on. `delay` lies between not being ready any more and the servers' stopping.
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
                    // Nobody may be waiting.
                    let _ = told.send(());
                });
                Self(
                    async move {
                        // When the telemetry is gone before a signal came, none will ever be told of.
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

/// Registers the handlers at once; the future waits for one of them.
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
