//! The errors of the set-up.

use crate::config::Signal;
use crate::env::EnvProblem;

/// An error of the set-up. It leaves neither an export thread nor globals behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Under [`strict_env`](crate::TelemetryBuilder::strict_env): environment variables have invalid values.
    #[error("the environment is not understood: {}", list(.0))]
    Environment(Vec<EnvProblem>),
    /// The exporter of a signal cannot be built, for example because its endpoint is not a URL or requires the
    /// feature `tls`.
    #[error("the exporter of {signal} cannot be built")]
    Exporter {
        /// The signal of the exporter.
        signal: Signal,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A header set in code has a name or a value that is invalid in HTTP.
    #[error("{name:?} with its value cannot be a header")]
    Header {
        /// The name of the header; its value may be a secret.
        name: String,
    },
    /// Certificates cannot be read or do not match their key, or the endpoint requires the feature `tls`.
    #[error("TLS cannot be set up")]
    Tls(#[source] std::io::Error),
    /// A thread or its runtime could not be started.
    #[error("a thread of the telemetry cannot be started")]
    Thread(#[source] std::io::Error),
    /// [`init`](crate::TelemetryBuilder::init) has already succeeded in this process, and its telemetry is not shut down
    /// yet.
    #[error("telemetry was already initialised in this process")]
    AlreadyInitialised,
    /// `tracing` spans are requested, but an earlier [`init`](crate::TelemetryBuilder::init) in this process has
    /// installed the global subscriber without them.
    #[error("the global tracing subscriber was installed without tracing spans, which cannot be added later")]
    TracingSpans,
    /// A global `tracing` subscriber is already installed; use
    /// [`without_subscriber`](crate::TelemetryBuilder::without_subscriber) to keep it.
    #[error("a global tracing subscriber is already set")]
    Subscriber(#[source] tracing_subscriber::util::TryInitError),
}

fn list(problems: &[EnvProblem]) -> String {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}
