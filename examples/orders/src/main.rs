//! The program: its arguments, and on which cluster it runs.
//!
//! Start reading in `packing.rs` (a message processed, sent on, or put with the dead letters), `carrier.rs` (a batch) and
//! `billing.rs` (a transaction); `clients.rs` is all that adopting `otel-kafka` takes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its terminal")]

mod arguments;
mod billing;
mod carrier;
mod clients;
mod cluster;
mod demo;
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

/// What ends the program.
type Failure = Box<dyn Error + Send + Sync>;

/// How long anything is waited for that should take a moment; on a machine that is busy with other things, too.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    // For warnings: a collector that is away, a variable of the environment that makes no sense.
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
        Err(complaint) => {
            eprint!("{complaint}\n\n{HELP}");
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
        Some(brokers) => Cluster::at(brokers).await?,
    };
    let played = demo::run(&cluster).await;
    // Also after a failure: what was made in somebody's cluster does not stay there.
    cluster.close().await;
    played
}
