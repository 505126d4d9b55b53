//! Entry point of the `ledger` example: the command line and the choice of the servers.
//!
//! Start reading in `api.rs` (the service), `store.rs` (Postgres) and `cache.rs` (Redis).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod api;
mod arguments;
mod cache;
mod demo;
mod stage;
mod store;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use service::Service;

use crate::arguments::{HELP, Mode};

/// The error type of the program.
type Failure = Box<dyn Error + Send + Sync>;

/// The timeout of each wait, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Demo { postgres, redis }) => run(postgres, redis).await,
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(postgres: Option<String>, redis: Option<String>) -> Result<(), Failure> {
    let postgres = find(postgres, "postgres", "POSTGRES_URL", "--postgres").await?;
    let redis = match find(redis, "redis", "REDIS_URL", "--redis").await {
        Ok(redis) => redis,
        Err(error) => return postgres.release().await.and(Err(error)),
    };
    let result = demo::run(&postgres.address, &redis.address).await;
    // Runs after a failure as well, so that no process is left.
    result.and(redis.release().await).and(postgres.release().await)
}

async fn find(
    address: Option<String>,
    name: &'static str,
    variable: &str,
    option: &str,
) -> Result<Service, Failure> {
    match address {
        Some(address) => Ok(Service::at(address)),
        None => Service::find(name, variable, option).await,
    }
}
