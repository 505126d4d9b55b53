//! Entry point of the `notifications` example: the command line and the choice of the server.
//!
//! Start reading in `alerts.rs` (publish and subscribe), `people.rs` (a service and its requester), `letters.rs` (JetStream
//! with redelivery) and `settings.rs` (a key that is watched).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod alerts;
mod arguments;
mod demo;
mod letters;
mod people;
mod reports;
mod settings;
mod stage;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use service::Service;

use crate::arguments::{HELP, Mode};

/// The error type of the program.
type Failure = Box<dyn Error + Send + Sync>;

/// The timeout of each wait, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    // Prints warnings, such as an unreachable collector or an invalid environment variable.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let server = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Demo { server }) => server,
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(server).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(address: Option<String>) -> Result<(), Failure> {
    let server = match address {
        Some(address) => Service::at(address),
        None => Service::find("nats", "NATS_URL", "--server").await?,
    };
    let result = demo::run(&server.address).await;
    // Runs after a failure as well, so that no process is left.
    result.and(server.release().await)
}
