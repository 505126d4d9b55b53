//! What can go wrong while telemetry is set up.

use crate::config::Signal;
use crate::env::EnvProblem;

/// Why telemetry could not be set up. Nothing is left behind then: no thread, no globals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Under [`strict_env`](crate::TelemetryBuilder::strict_env), variables of the environment are not understood.
    #[error("the environment is not understood: {}", list(.0))]
    Environment(Vec<EnvProblem>),
    /// The exporter of a signal cannot be built, for example because its endpoint is not a URL or needs the feature `tls`.
    #[error("the exporter of {signal} cannot be built")]
    Exporter {
        /// Whose exporter.
        signal: Signal,
        /// What its crate says.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// A header that code adds has a name or a value that HTTP headers cannot have.
    #[error("{name:?} with its value cannot be a header")]
    Header {
        /// Its name; the value may be a secret.
        name: String,
    },
    /// Certificates cannot be read, do not fit their key, or the endpoint needs the feature `tls`.
    #[error("TLS cannot be set up")]
    Tls(#[source] std::io::Error),
    /// The thread that exports could not be started.
    #[error("the thread that exports cannot be started")]
    Thread(#[source] std::io::Error),
    /// [`init`](crate::TelemetryBuilder::init) was called before in this process.
    #[error("telemetry was already initialised in this process")]
    AlreadyInitialised,
    /// A global `tracing` subscriber is there already.
    /// [`without_subscriber`](crate::TelemetryBuilder::without_subscriber) leaves it alone.
    #[error("a global tracing subscriber is already set")]
    Subscriber(#[source] tracing_subscriber::util::TryInitError),
}

fn list(problems: &[EnvProblem]) -> String {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}
