//! An instance of the service: it registers itself, and is killed or stopped.
//!
//! Follows `crates/otel-discovery/README.md` for the registration.

use std::time::Duration;

use otel_discovery::{Endpoint, Lease, Registration, Registry};
use otel_waterfall::Waterfall;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::protocol::Protocol;

/// The time after which an instance that was killed is no longer known; etcd has no shorter one.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// An instance. It has a runtime of its own: killed, its connections and the renewals of its lease end as those of a process do.
pub(crate) struct Instance {
    runtime: Option<Runtime>,
    lease: Option<Lease>,
}

impl Instance {
    /// Serves on an unused port, and registers itself.
    pub(crate) async fn start<P: Protocol>(
        waterfall: &Waterfall,
        registry: impl Registry,
        id: &'static str,
    ) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let waterfall = waterfall.clone();
        let started = runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let endpoint = Endpoint::new(&address.ip().to_string(), address.port())?.with_id(id)?;
            let server = P::serve(listener, &waterfall, id)?;
            tokio::spawn(async move {
                if let Err(error) = server.await {
                    eprintln!("error: {id}: {error}");
                }
            });
            let registration = Registration::new(P::SERVICE, endpoint).with_lease(LEASE);
            Ok::<_, Failure>(registry.register(registration).await?)
        });
        // Owned first, so that a failure does not drop the runtime on a thread of another one.
        let mut instance = Self { runtime: Some(runtime), lease: None };
        instance.lease = Some(started.await??);
        Ok(instance)
    }

    /// Ends it without a word to the registry.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Deregisters it, so that no further requests come, and ends it.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        if let (Some(runtime), Some(lease)) = (&self.runtime, self.lease.take()) {
            runtime.spawn(lease.deregister()).await??;
        }
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
