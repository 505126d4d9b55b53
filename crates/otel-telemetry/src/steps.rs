//! The shutdown of an application: servers, consumers, pools, then the telemetry, within one deadline.

use std::fmt;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::shutdown::{self, Shares, ShutdownReport};
use crate::telemetry::{LONGEST, Telemetry};

/// The default deadline, short of the 30 seconds after which [Kubernetes
/// kills](https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination) a container.
const DEADLINE: Duration = Duration::from_secs(25);

/// The time for which a step waits for the subscriber that logs it.
const LOG_TIMEOUT: Duration = Duration::from_millis(100);

/// The groups of steps, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ShutdownPhase {
    /// Servers finish the requests that they have accepted.
    Servers,
    /// Consumers finish and settle the messages that they have received.
    Consumers,
    /// Pools of connections close, which the work of the earlier phases used.
    Pools,
    /// The telemetry exports the rest, that of the earlier phases included.
    Telemetry,
}

impl fmt::Display for ShutdownPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Servers => "server",
            Self::Consumers => "consumer",
            Self::Pools => "pool",
            Self::Telemetry => "telemetry",
        })
    }
}

type Step = (ShutdownPhase, String, BoxFuture<'static, Result<(), String>>);

/// The steps of an application's shutdown; created by [`Telemetry::shutdown_steps`].
#[must_use = "nothing shuts down until `run`"]
pub struct ShutdownSteps {
    telemetry: Telemetry,
    deadline: Duration,
    steps: Vec<Step>,
}

impl fmt::Debug for ShutdownSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.steps.iter().map(|(phase, name, _)| (phase, name));
        f.debug_struct("ShutdownSteps")
            .field("deadline", &self.deadline)
            .field("steps", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// The phase of the step.
    pub phase: ShutdownPhase,
    /// The name of the step.
    pub name: String,
    /// The duration of the step.
    pub took: Duration,
    /// The reason, if the step failed or did not finish in its time.
    pub error: Option<String>,
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, name, took, error } = self;
        match error {
            None => write!(f, "shutdown of {phase} {name} took {took:.1?}"),
            Some(error) => write!(f, "shutdown of {phase} {name} failed after {took:.1?}: {error}"),
        }
    }
}

/// The result of an application's shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepsReport {
    /// The steps in the order of their phases; the last one is the telemetry.
    pub steps: Vec<StepReport>,
    /// The report of the telemetry.
    pub telemetry: ShutdownReport,
}

impl StepsReport {
    /// Returns true if each step finished without an error.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.steps.iter().all(|step| step.error.is_none())
    }
}

impl fmt::Display for StepsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "{step}; ")?;
        }
        write!(f, "{}", self.telemetry)
    }
}

impl ShutdownSteps {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, deadline: DEADLINE, steps: Vec::new() }
    }

    /// Sets the deadline of all steps, the telemetry included. Default: 25 seconds.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Adds a server, such as the task of `axum::serve` with a graceful shutdown.
    pub fn with_server<E: fmt::Display>(
        self,
        name: impl Into<String>,
        stop: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        self.with_step(ShutdownPhase::Servers, name.into(), stop)
    }

    /// Adds a consumer of messages.
    pub fn with_consumer<E: fmt::Display>(
        self,
        name: impl Into<String>,
        stop: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        self.with_step(ShutdownPhase::Consumers, name.into(), stop)
    }

    /// Adds a pool of connections or another resource that servers and consumers use.
    pub fn with_pool<E: fmt::Display>(
        self,
        name: impl Into<String>,
        stop: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        self.with_step(ShutdownPhase::Pools, name.into(), stop)
    }

    fn with_step<E: fmt::Display>(
        mut self,
        phase: ShutdownPhase,
        name: String,
        stop: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        let stop = async { stop.await.map_err(|error| error.to_string()) };
        self.steps.push((phase, name, stop.boxed()));
        self
    }

    /// Makes the service not ready, and runs the steps: one phase after the other, the steps of a phase concurrently.
    /// Each phase gets its share of the time that is left, and a phase that ends early leaves its rest to the later
    /// ones. A step that exceeds its time is cancelled. Each step is logged with its duration.
    ///
    /// Call it inside of the application's tokio runtime: the steps are tasks of this runtime, and the deadline is kept
    /// on another thread.
    pub async fn run(self) -> StepsReport {
        let control = self.telemetry.running().control.clone();
        let deadline = self.deadline;
        let tasks = Handle::try_current().unwrap_or_else(|_| control.clone());
        let running = control.spawn(run(self, tasks));
        running.await.unwrap_or_else(|error| StepsReport {
            steps: vec![telemetry_step(deadline, Some(error.to_string()))],
            telemetry: shutdown::lost_report(deadline),
        })
    }
}

async fn run(steps: ShutdownSteps, tasks: Handle) -> StepsReport {
    const PHASES: [ShutdownPhase; 3] =
        [ShutdownPhase::Servers, ShutdownPhase::Consumers, ShutdownPhase::Pools];
    let ShutdownSteps { telemetry, deadline, steps: mut left } = steps;
    telemetry.health().begin_shutdown();
    let phases = PHASES.iter().filter(|phase| left.iter().any(|step| step.0 == **phase)).count();
    let count = u32::try_from(phases + 1).unwrap_or(1);
    let mut shares = Shares::new(Instant::now() + deadline.min(LONGEST), count);
    let mut reports = Vec::new();
    for phase in PHASES {
        let steps: Vec<_> = left.extract_if(.., |step| step.0 == phase).collect();
        if steps.is_empty() {
            continue;
        }
        let share = shares.next(Instant::now());
        let (start, end) = (Instant::now(), tokio::time::Instant::now() + share);
        let task = |(_, name, stop): Step| {
            let timed = async move {
                let result = stop.await;
                (start.elapsed(), result)
            };
            (name, tasks.spawn(timed))
        };
        // All are spawned before the first is awaited.
        let running: Vec<_> = steps.into_iter().map(task).collect();
        for (name, mut task) in running {
            let (took, error) = match tokio::time::timeout_at(end, &mut task).await {
                Ok(Ok((took, result))) => (took, result.err()),
                Ok(Err(_panic)) => (start.elapsed(), Some("it panicked".to_owned())),
                Err(_elapsed) => {
                    task.abort();
                    (start.elapsed(), Some(format!("not finished within {share:.1?}")))
                }
            };
            reports.push(logged(StepReport { phase, name, took, error }).await);
        }
    }
    let telemetry = telemetry.shutdown_within(shares.next(Instant::now())).await;
    let error = (!telemetry.is_complete()).then(|| telemetry.to_string());
    reports.push(logged(telemetry_step(telemetry.took, error)).await);
    StepsReport { steps: reports, telemetry }
}

fn telemetry_step(took: Duration, error: Option<String>) -> StepReport {
    StepReport { phase: ShutdownPhase::Telemetry, name: "export".to_owned(), took, error }
}

/// Logs a step on a thread that may block, because the subscriber may.
async fn logged(step: StepReport) -> StepReport {
    let text = step.to_string();
    let is_error = step.error.is_some();
    let logging = tokio::task::spawn_blocking(move || match is_error {
        false => tracing::info!(name: "shutdown.step", "{text}"),
        true => tracing::warn!(name: "shutdown.step", "{text}"),
    });
    let _ = tokio::time::timeout(LOG_TIMEOUT, logging).await;
    step
}
