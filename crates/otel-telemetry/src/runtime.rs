//! The threads of this crate, each with a tokio runtime of its own.
//!
//! One control thread for the process handles signals, deadlines, flush and shutdown. It runs neither exporters nor
//! processors nor `tracing` subscribers, so that none of these can delay it by blocking. Each queue has an export
//! thread, so that an exporter that blocks delays its own signal only, and so have the connections of metrics. All of these threads are marked as suppressed,
//! so that the exporters' own connections produce neither spans nor log records.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::sync::oneshot;

/// Returns the runtime of the control thread, which the first call starts. The thread lives as long as the process,
/// because a second signal must end the process also after a shutdown.
pub(crate) fn control() -> io::Result<Handle> {
    static CONTROL: Mutex<Option<Handle>> = Mutex::new(None);
    let mut control = CONTROL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*control {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().thread_name("otel-control").enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name("otel-control".into()).spawn(move || {
        let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
        runtime.block_on(std::future::pending::<()>());
    })?;
    *control = Some(handle.clone());
    Ok(handle)
}

/// The thread of one exporter. Exporters are created between [`new`](Self::new) and [`start`](Self::start), because
/// gRPC channels spawn tasks on the runtime that they are created on.
#[derive(Debug)]
pub(crate) struct ExportThread {
    runtime: Option<Runtime>,
}

impl ExportThread {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { runtime: Some(Builder::new_current_thread().enable_all().build()?) })
    }

    /// Runs the thread until the returned value is dropped, and returns the handle of its runtime.
    pub(crate) fn serve(self, name: String) -> io::Result<(Handle, Option<oneshot::Sender<()>>)> {
        let handle = match &self.runtime {
            Some(runtime) => runtime.handle().clone(),
            None => control()?,
        };
        let (stop, stopped) = oneshot::channel();
        self.start(name, async {
            // No value is ever sent: dropping the sender ends the wait.
            let _ = stopped.await;
        })?;
        Ok((handle, Some(stop)))
    }

    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.runtime.as_ref().map(Runtime::enter)
    }

    /// Runs a future on the thread until it ends.
    pub(crate) fn start(
        self,
        name: String,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(move || {
            let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
            // Dropped before the guard, because connections emit events when they are closed.
            let thread = self;
            if let Some(runtime) = &thread.runtime {
                runtime.block_on(future);
            }
        })?;
        Ok(())
    }
}

impl Drop for ExportThread {
    fn drop(&mut self) {
        // The drop of a runtime waits for its blocking tasks, and panics inside of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
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
