//! Entry point of the `invoices` example: the command line and the choice of the broker.
//!
//! Start reading in `jobs.rs` (a work queue and its dead letters), `payments.rs` (a topic exchange) and `rates.rs` (requests and
//! replies).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod arguments;
mod demo;
mod jobs;
mod payments;
mod queues;
mod rates;
mod reports;
mod stage;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use service::Service;
use tracing_subscriber::filter::EnvFilter;

use crate::arguments::{HELP, Mode};

/// The error type of the program.
type Failure = Box<dyn Error + Send + Sync>;

/// The timeout of each wait, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    // Prints warnings, such as an unreachable collector or an invalid environment variable. lapin has one for each returned
    // message, which the demonstration prints itself.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("warn,lapin=error"))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let broker = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Demo { broker }) => broker,
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(broker).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(address: Option<String>) -> Result<(), Failure> {
    let broker = match address {
        Some(address) => Service::at(address),
        None => Service::find("rabbitmq", "RABBITMQ_URL", "--broker").await?,
    };
    let result = demo::run(&broker.address).await;
    // Runs after a failure as well, so that no process is left.
    result.and(broker.release().await)
}
