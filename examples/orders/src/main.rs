//! Entry point of the `orders` example: the command line and the choice of the cluster.
//!
//! Start reading in `packing.rs` (processing, forwarding and dead letters), `carrier.rs` (a batch) and `billing.rs` (a
//! transaction). `clients.rs` has all code that is specific to `otel-kafka`'s clients.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod arguments;
mod billing;
mod carrier;
mod clients;
mod cluster;
mod demo;
mod desk;
mod packing;
mod reader;
mod reports;
mod stage;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use crate::arguments::{HELP, Mode};
use crate::cluster::Cluster;

/// The error type of the program.
type Failure = Box<dyn Error + Send + Sync>;

/// The timeout of each wait, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    // Prints warnings, such as an unreachable collector or an invalid environment variable.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let brokers = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Demo { brokers }) => brokers,
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(brokers.as_deref()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(brokers: Option<&str>) -> Result<(), Failure> {
    let cluster = match brokers {
        None => Cluster::mock().await?,
        Some(brokers) => Cluster::connect(brokers).await?,
    };
    let result = demo::run(&cluster).await;
    // Runs after a failure as well, so that no topics are left in the cluster.
    cluster.close().await;
    result
}
