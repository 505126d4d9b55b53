//! The start and the end of a service: telemetry, a socket, and the signal that stops it.

use std::env;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use otel_telemetry::{Exporter, Health, ShutdownSignal, Telemetry};
use otel_waterfall::OpenSpans;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::Failure;

/// The time for a service to end after the signal to stop, longer than orders needs for its sagas. After it, a connection that a
/// client keeps open delays the end no more.
const GRACE: Duration = Duration::from_secs(12);

/// The time for work that outlasts the service, such as the delivery report of a message. A span that is open after it is an error.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// A service that is starting or running.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    stop: ShutdownSignal,
    health: Health,
    is_ready: Arc<AtomicBool>,
}

impl Service {
    /// Returns a future that is ready at SIGTERM or Ctrl-C.
    pub fn stop(&self) -> ShutdownSignal {
        self.stop.clone()
    }

    /// Returns the health of the process, for `/livez` and `/readyz`.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Listens on the address in `SHOP_LISTEN`, or else on a port that is free.
    ///
    /// # Errors
    /// Returns an error if the address is invalid or in use.
    pub async fn listen(&self) -> Result<TcpListener, Failure> {
        bind("SHOP_LISTEN", &setting_or("SHOP_LISTEN", "127.0.0.1:0")).await
    }

    /// Makes the service ready for `/readyz`, and prints it for the program that has started it.
    #[expect(clippy::print_stdout, reason = "the program that starts the service reads it")]
    pub fn ready(&self, at: Option<&TcpListener>) -> Result<(), Failure> {
        self.is_ready.store(true, Ordering::Relaxed);
        match at {
            Some(listener) => println!("{} is ready at {}", self.name, listener.local_addr()?),
            None => println!("{} is ready", self.name),
        }
        Ok(())
    }

    /// Prints what the service does. Nobody may read it any more.
    pub fn report(&self, what: impl std::fmt::Display) {
        let _ = writeln!(std::io::stdout(), "{}: {what}", self.name);
    }
}

/// Runs a service: sets its telemetry up, runs `serve` until it returns, and shuts the telemetry down. It is an error if `serve` runs
/// for more than 12 seconds after the signal to stop.
///
/// The telemetry goes to the endpoint in the environment (`OTEL_EXPORTER_OTLP_ENDPOINT`), and nowhere without one.
#[expect(clippy::print_stderr, reason = "a program talks to its terminal")]
pub async fn run<F>(name: &'static str, serve: impl FnOnce(Service) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    if env::var_os(STOP_WITH_STDIN).is_some() {
        stop_with_stdin();
    }
    let open_spans = OpenSpans::new();
    let counted = open_spans.clone();
    let telemetry = Telemetry::builder()
        .with_service_name(name)
        .with_service_version(env!("CARGO_PKG_VERSION"))
        .with_exporters(Exporter::OtlpIfConfigured)
        .map_tracer_provider(|traces| traces.with_span_processor(counted))
        .init();
    let telemetry = match telemetry {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("error: {name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (health, is_ready) = (telemetry.health(), Arc::new(AtomicBool::new(false)));
    let started = Arc::clone(&is_ready);
    health.add_check("started", Duration::from_secs(1), move || {
        std::future::ready(if started.load(Ordering::Relaxed) { Ok(()) } else { Err("starting") })
    });
    let stop = telemetry.shutdown_on_signal();
    let service = Service { name, stop: stop.clone(), health, is_ready };
    let grace_ends = async {
        stop.await;
        sleep(GRACE).await;
    };
    let result = match serve_health(&service.health).await {
        Ok(()) => tokio::select! {
            result = serve(service) => result,
            () = grace_ends => Err(format!("the work has not ended within {GRACE:?} of the signal").into()),
        },
        Err(error) => Err(error),
    };
    let ended = timeout(LAST_SPANS, open_spans.none()).await;
    telemetry.shutdown().await;
    let result = result.and(ended.map_err(|_| "a span has not ended".into()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The variable with which a service stops at the end of its standard input, which is the end of the program that started it.
pub(crate) const STOP_WITH_STDIN: &str = "SHOP_STOP_WITH_STDIN";

/// Sends SIGTERM to this process at the end of its standard input.
fn stop_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = std::process::Command::new("kill").arg(std::process::id().to_string()).status();
    });
}

/// The variable with the address of the probes.
const HEALTH: &str = "SHOP_HEALTH";

/// Serves `/livez` and `/readyz` at the address in `SHOP_HEALTH`, and nowhere without one.
///
/// The listener is that of the probes alone: consumers have no other one, and that of a server closes at SIGTERM, while its
/// requests are still in progress. This one responds until the process ends.
async fn serve_health(health: &Health) -> Result<(), Failure> {
    let Ok(address) = setting(HEALTH) else { return Ok(()) };
    let listener = bind(HEALTH, &address).await?;
    let router = health.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

async fn bind(variable: &str, address: &str) -> Result<TcpListener, Failure> {
    let listener = match address.parse::<SocketAddr>() {
        Ok(parsed) => TcpListener::bind(parsed).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    listener.map_err(|error| format!("{variable}={address}: {error}").into())
}

/// Returns a setting of the environment.
///
/// # Errors
/// Returns an error that names the variable if it is not set.
pub fn setting(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|_| format!("set the environment variable {name}").into())
}

/// Returns a setting of the environment, or else its default.
#[must_use]
pub fn setting_or(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
