//! The errors of the set-up.

use crate::config::Signal;
use crate::env::EnvProblem;

/// An error of the set-up. It leaves neither a thread nor globals behind.
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
    /// The export thread could not be started.
    #[error("the thread that exports cannot be started")]
    Thread(#[source] std::io::Error),
    /// [`init`](crate::TelemetryBuilder::init) has already succeeded in this process, or is running.
    #[error("telemetry was already initialised in this process")]
    AlreadyInitialised,
    /// A global `tracing` subscriber is already installed; use
    /// [`without_subscriber`](crate::TelemetryBuilder::without_subscriber) to keep it.
    #[error("a global tracing subscriber is already set")]
    Subscriber(#[source] tracing_subscriber::util::TryInitError),
}

fn list(problems: &[EnvProblem]) -> String {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}
