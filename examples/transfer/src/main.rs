//! Entry point of the `transfer` example: the demonstration, and the child processes that it kills.
//!
//! Start reading in `order.rs` (a saga of three steps) with `order/store.rs` (the requirements on its services), and in
//! `transfer.rs` (a two-phase commit) with `transfer/savings.rs` (a participating service).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod arguments;
mod demo;
mod file;
mod order;
mod stage;
mod transfer;
mod victim;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::arguments::{HELP, Mode};

/// The error type of the program.
type Failure = Box<dyn Error + Send + Sync>;

/// The timeout of each wait, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    // Prints warnings, and the alerts of sagas and transactions. sqlx's warnings about slow statements are excluded.
    let levels = Targets::new().with_default(LevelFilter::WARN).with_target("sqlx", LevelFilter::ERROR);
    let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    let result = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Ok(Mode::Demo { page, postgres }) => demo::run(page, postgres).await,
        Ok(Mode::OrderVictim { folder }) => order::demo::victim(&folder).await,
        Ok(Mode::TransferVictim { folder, checking, savings }) => {
            transfer::demo::victim(&folder, &checking, &savings).await
        }
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Formats an error with its causes.
fn with_causes(error: &dyn Error) -> String {
    std::iter::successors(error.source(), |&cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
