//! The thread and the tokio runtime on which everything is exported.
//!
//! Exporting on a runtime of its own means that a busy application does not delay it, that a blocked exporter cannot
//! block the application, and that set-up works in a `main` without any runtime. All that runs on the thread is marked
//! as suppressed, so that the exporter's own connections make neither spans nor log records.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Ends the thread when it is dropped.
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
            // Nothing is ever sent: the sender's end is the signal.
            let _ = runtime.block_on(stopped);
            // A metrics shutdown that hangs in a blocking thread must not keep this one.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _stop: stop })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

pin_project! {
    /// A future that finds the runtime's timers and sockets, wherever it is polled.
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
