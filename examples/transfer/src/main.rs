//! The program: its arguments, and which part of it runs.
//!
//! Start reading in `order.rs` (a saga of three steps) with `order/store.rs` (what a saga asks of those who take part), and
//! in `transfer.rs` (a two-phase commit) with `transfer/savings.rs` (a service that takes part).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its terminal")]

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

/// What ends the program.
type Failure = Box<dyn Error + Send + Sync>;

/// How long anything is waited for that should take a moment; on a machine that is busy with other things, too.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    // For warnings, and for what sagas and transactions alert of; not for what a slow disk makes sqlx warn of.
    let levels = Targets::new().with_default(LevelFilter::WARN).with_target("sqlx", LevelFilter::ERROR);
    let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    let played = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Ok(Mode::Demo { page, postgres }) => demo::run(page, postgres).await,
        Ok(Mode::OrderVictim { folder }) => order::demo::victim(&folder).await,
        Ok(Mode::TransferVictim { folder, checking, savings }) => {
            transfer::demo::victim(&folder, &checking, &savings).await
        }
        Err(complaint) => {
            eprint!("{complaint}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", whole(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes.
fn whole(error: &dyn Error) -> String {
    std::iter::successors(error.source(), |&cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
