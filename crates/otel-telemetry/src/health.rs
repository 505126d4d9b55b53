//! Liveness and readiness of the application: named checks, the state of the shutdown, and failing exporters.
//!
//! Liveness and readiness follow the [probes of
//! Kubernetes](https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes); the gRPC service
//! follows the [gRPC Health Checking Protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md).

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tonic")]
mod tonic;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::sync::watch;

#[cfg(feature = "tonic")]
pub use self::tonic::GrpcHealth;
use crate::config::Signal;
use crate::status::ExportStatus;

/// The state of a check or of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HealthStatus {
    /// Healthy.
    Up,
    /// Impaired but able to serve. Counts as ready.
    Degraded,
    /// Unable to serve.
    Down,
}

/// The result of a liveness or readiness request, with its details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worst status of all details.
    pub status: HealthStatus,
    /// The details by name: the checks, `shutdown` once it has begun, and `exporter.SIGNAL` for each failing
    /// exporter and each signal that is not exported, because its endpoint is invalid.
    pub details: BTreeMap<String, HealthDetail>,
}

impl HealthReport {
    fn from_details(details: BTreeMap<String, HealthDetail>) -> Self {
        let worst = details.values().map(|detail| detail.status).max();
        Self { status: worst.unwrap_or(HealthStatus::Up), details }
    }

    /// Returns true if the service can serve: [`Up`](HealthStatus::Up) or [`Degraded`](HealthStatus::Degraded).
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.status != HealthStatus::Down
    }
}

/// The status of one check, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthDetail {
    /// The status.
    pub status: HealthStatus,
    /// The reason, if the status is not `Up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl HealthDetail {
    fn up() -> Self {
        Self { status: HealthStatus::Up, reason: None }
    }

    fn down(reason: impl Into<String>) -> Self {
        Self { status: HealthStatus::Down, reason: Some(reason.into()) }
    }
}

type CheckFn = dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync;

struct Check {
    name: String,
    timeout: Duration,
    run: Box<CheckFn>,
}

/// The health of the application, from [`Telemetry::health`](crate::Telemetry::health). Clones share their state.
///
/// [`ready`](Self::ready) must be called inside a tokio runtime with enabled timers, as in axum and tonic.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    checks: Mutex<Vec<Arc<Check>>>,
    exporters: Vec<Arc<ExportStatus>>,
    stopping: watch::Sender<bool>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.checks();
        f.debug_struct("Health")
            .field("checks", &checks.iter().map(|check| &check.name).collect::<Vec<_>>())
            .field("stopping", &*self.inner.stopping.borrow())
            .finish_non_exhaustive()
    }
}

impl Health {
    pub(crate) fn new(exporters: Vec<Arc<ExportStatus>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                checks: Mutex::new(Vec::new()),
                exporters,
                stopping: watch::Sender::new(false),
            }),
        }
    }

    fn checks(&self) -> MutexGuard<'_, Vec<Arc<Check>>> {
        // The lock is never held over code that can panic.
        self.inner.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a readiness check, such as a ping of the database. It runs for each readiness request, concurrently with
    /// the other checks, and is down if it returns an error, panics, or exceeds its timeout. It replaces a check with
    /// the same name.
    pub fn add_check<F, Fut, E>(&self, name: impl Into<String>, timeout: Duration, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let name = name.into();
        let check = Arc::new(Check {
            name,
            timeout,
            run: Box::new(move || {
                let checking = check();
                Box::pin(async move { checking.await.map_err(|error| error.to_string()) })
            }),
        });
        let mut checks = self.checks();
        checks.retain(|other| other.name != check.name);
        checks.push(check);
    }

    /// Returns the liveness. A process that can answer is alive, because a failing dependency is no reason to restart
    /// it.
    #[must_use]
    pub fn live(&self) -> HealthReport {
        HealthReport::from_details(BTreeMap::new())
    }

    /// Returns the readiness: all checks are up and no shutdown has begun. A failing exporter is a degraded detail
    /// and leaves the service ready.
    pub async fn ready(&self) -> HealthReport {
        let checks = self.checks().clone();
        let ran = join_all(checks.iter().map(|check| async move { (check.name.clone(), run(check).await) }));
        let mut details: BTreeMap<_, _> = ran.await.into_iter().collect();
        for exporter in &self.inner.exporters {
            if let Some(failure) = exporter.failure() {
                let detail = HealthDetail { status: HealthStatus::Degraded, reason: Some(failure) };
                details.insert(format!("exporter.{}", exporter.signal()), detail);
            }
        }
        if *self.inner.stopping.borrow() {
            details.insert("shutdown".into(), HealthDetail::down("shutting down"));
        }
        HealthReport::from_details(details)
    }

    /// Makes the service not ready from now on. The shutdown of the telemetry calls it first.
    pub fn begin_shutdown(&self) {
        self.inner.stopping.send_replace(true);
    }

    /// Returns the current failure of a signal's export.
    pub(crate) fn export_failure(&self, signal: Signal) -> Option<String> {
        self.inner.exporters.iter().find(|exporter| exporter.signal() == signal)?.failure()
    }

    #[cfg(feature = "tonic")]
    fn stopping(&self) -> watch::Receiver<bool> {
        self.inner.stopping.subscribe()
    }
}

async fn run(check: &Check) -> HealthDetail {
    // The closure can panic as well as its future.
    let checking = AssertUnwindSafe(async { (check.run)().await }).catch_unwind();
    match tokio::time::timeout(check.timeout, checking).await {
        Ok(Ok(Ok(()))) => HealthDetail::up(),
        Ok(Ok(Err(error))) => HealthDetail::down(error),
        Ok(Err(_panic)) => HealthDetail::down("the check panicked"),
        Err(_elapsed) => HealthDetail::down(format!("no answer within {:?}", check.timeout)),
    }
}
