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
    pub(crate) fn listen(control: &Handle, health: Health, delay: Duration) -> Self {
        let signals = {
            let _entered = control.enter();
            Signals::register()
        };
        let mut signals = match signals {
            Ok(signals) => signals,
            Err(error) => {
                tracing::warn!(%error, "signals cannot be listened to; the system's default handling stays");
                return Self(std::future::pending().boxed().shared());
            }
        };
        let (received, signal) = oneshot::channel();
        control.spawn(async move {
            signals.next().await;
            health.begin_shutdown();
            drop(health);
            let draining = async {
                tokio::time::sleep(delay).await;
                // The receiver is gone if all futures were dropped.
                let _ = received.send(());
                std::future::pending::<()>().await;
            };
            tokio::select! {
                signal = signals.next() => terminate(signal),
                () = draining => {}
            }
        });
        Self(
            async move {
                if signal.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            .boxed()
            .shared(),
        )
    }
}

/// The handlers of SIGTERM and Ctrl-C.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn register() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns the number of the next signal.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => signal_hook::consts::SIGTERM,
            _ = self.interrupt.recv() => signal_hook::consts::SIGINT,
        }
    }
}

/// Ends the process as the system would without a handler, so that its parent sees the signal. Neither destructors
/// nor exit handlers run, because these may block.
#[cfg(unix)]
fn terminate(signal: i32) {
    if std::process::id() == 1 {
        // The system ignores signals without a handler for the first process of a container, and an abort would end
        // it with a segmentation fault.
        signal_hook::low_level::exit(128 + signal);
    }
    // An error is possible for unknown signals only.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    close: tokio::signal::windows::CtrlClose,
}

#[cfg(windows)]
impl Signals {
    fn register() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_c, ctrl_close};
        Ok(Self { interrupt: ctrl_c()?, close: ctrl_close()? })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.close.recv() => {}
        }
        1
    }
}

#[cfg(windows)]
fn terminate(code: i32) {
    std::process::exit(code);
}
