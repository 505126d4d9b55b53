//! Entry point of the `chat` example: the demonstration, the server and the member at a terminal.
//!
//! Start reading in `server.rs` (a call with a span for each of its messages), `client.rs` (the client side of it) and
//! `telemetry.rs` (setup of telemetry and of the layers).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod arguments;
mod client;
mod demo;
mod pb;
mod room;
mod server;
mod telemetry;
mod terminal;
mod wire;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

use crate::arguments::{HELP, Mode};

#[tokio::main]
async fn main() -> ExitCode {
    // Prints warnings of the SDK, such as an unreachable collector or an invalid environment variable.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let result = match Mode::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Demo) => demo::run().await,
        Ok(Mode::Serve { address }) => serve(&address).await,
        Ok(Mode::Connect { address, name }) => terminal::run(&address, &name).await,
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let telemetry = telemetry::telemetry("chat", &telemetry::waterfall(), |traces| traces)?;
    let listener = TcpListener::bind(address).await?;
    println!(
        "serving on {}; each trace is drawn when it is complete, Ctrl-C stops the server\n",
        listener.local_addr()?
    );
    server::serve(listener, &telemetry, telemetry.shutdown_on_signal()).await?;
    // Export failures are logged as warnings.
    telemetry.shutdown().await;
    Ok(())
}
