//! The export thread and its tokio runtime.
//!
//! The separate runtime means that a busy application does not delay exports, that a blocked exporter does not block
//! the application, and that set-up works in a `main` without a runtime. The thread is marked as suppressed, so that
//! the exporters' own connections produce neither spans nor log records.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The export runtime; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct ExportRuntime {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl ExportRuntime {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("otel-telemetry".into()).spawn(move || {
            let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
            // No value is ever sent: dropping the sender ends the wait.
            let _ = runtime.block_on(stopped);
            // A blocking metrics shutdown that hangs must not keep this thread alive.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _stop: stop })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

pin_project! {
    /// A future that is polled inside a runtime's context, on whatever thread.
    #[derive(Debug)]
    pub(crate) struct Entered<F> {
        handle: Handle,
        #[pin]
        future: F,
    }
}

impl<F> Entered<F> {
    pub(crate) fn new(handle: Handle, future: F) -> Self {
        Self { handle, future }
    }
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.handle.enter();
        this.future.poll(cx)
    }
}
