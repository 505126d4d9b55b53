//! Whether the application is alive and ready: named checks, the state of the shutdown, and the exporters as a detail.
//!
//! Liveness and readiness mean what they mean in Kubernetes; the gRPC side follows the gRPC Health Checking Protocol.

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

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HealthStatus {
    /// Well.
    Up,
    /// Something is wrong that the service can live with. Counts as ready.
    Degraded,
    /// Not able to serve.
    Down,
}

/// The answer to "live?" or "ready?", with what led to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worst of all details.
    pub status: HealthStatus,
    /// By name: the checks, `shutdown` once it has begun, and `exporter.traces` and its like where one is failing.
    pub details: BTreeMap<String, HealthDetail>,
}

impl HealthReport {
    fn of(details: BTreeMap<String, HealthDetail>) -> Self {
        let worst = details.values().map(|detail| detail.status).max();
        Self { status: worst.unwrap_or(HealthStatus::Up), details }
    }

    /// Whether the service can serve: [`Up`](HealthStatus::Up) or [`Degraded`](HealthStatus::Degraded).
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.status != HealthStatus::Down
    }
}

/// How one thing is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthDetail {
    /// How it is.
    pub status: HealthStatus,
    /// Why, where it is not well.
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
type FailingFn = dyn Fn() -> bool + Send + Sync;

struct Check {
    name: String,
    timeout: Duration,
    run: Box<CheckFn>,
}

/// The health of the application. Clones are the same health; get it from
/// [`Telemetry::health`](crate::Telemetry::health).
///
/// [`ready`](Self::ready) must be called inside a tokio runtime whose timers are enabled, as axum's and tonic's are.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    checks: Mutex<Vec<Arc<Check>>>,
    exporters: Vec<(String, Box<FailingFn>)>,
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
    pub(crate) fn new(exporters: Vec<(String, Box<FailingFn>)>) -> Self {
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

    /// Adds a check of readiness, such as a ping of the database. It runs for each question, at the same time as the
    /// others, and is down if it returns an error, panics, or takes longer than its timeout. A check of the same name
    /// is replaced.
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

    /// Whether the process is alive. It is, if it can answer: a failing dependency is no reason to restart it.
    #[must_use]
    pub fn live(&self) -> HealthReport {
        HealthReport::of(BTreeMap::new())
    }

    /// Whether the service can take requests: all checks are up and no shutdown has begun. A failing exporter is a
    /// degraded detail and leaves the service ready.
    pub async fn ready(&self) -> HealthReport {
        let checks = self.checks().clone();
        let ran = join_all(checks.iter().map(|check| async move { (check.name.clone(), run(check).await) }));
        let mut details: BTreeMap<_, _> = ran.await.into_iter().collect();
        for (name, failing) in &self.inner.exporters {
            if failing() {
                let detail = HealthDetail {
                    status: HealthStatus::Degraded,
                    reason: Some("the last export failed".into()),
                };
                details.insert(format!("exporter.{name}"), detail);
            }
        }
        if *self.inner.stopping.borrow() {
            details.insert("shutdown".into(), HealthDetail::down("shutting down"));
        }
        HealthReport::of(details)
    }

    /// From now on the service is not ready. The shutdown of the telemetry calls it first.
    pub fn begin_shutdown(&self) {
        self.inner.stopping.send_replace(true);
    }

    #[cfg(feature = "tonic")]
    fn stopping(&self) -> watch::Receiver<bool> {
        self.inner.stopping.subscribe()
    }
}

async fn run(check: &Check) -> HealthDetail {
    // The closure itself may panic, not only its future.
    let checking = AssertUnwindSafe(async { (check.run)().await }).catch_unwind();
    match tokio::time::timeout(check.timeout, checking).await {
        Ok(Ok(Ok(()))) => HealthDetail::up(),
        Ok(Ok(Err(error))) => HealthDetail::down(error),
        Ok(Err(_panic)) => HealthDetail::down("the check panicked"),
        Err(_elapsed) => HealthDetail::down(format!("no answer within {:?}", check.timeout)),
    }
}
