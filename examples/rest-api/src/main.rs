//! Entry point of the `rest-api` example: the demonstration and the server mode.
//!
//! Start reading in `users.rs` (a service with one layer around it), `client.rs` (a client with one layer around it)
//! and `services.rs` (setup and shutdown of telemetry).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints to its terminal")]

mod accounts;
mod arguments;
mod client;
mod console;
mod demo;
mod services;
mod users;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use otel_waterfall::Waterfall;
use tracing_subscriber::filter::LevelFilter;

use crate::arguments::{HELP, Mode};
use crate::services::Services;

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
        Ok(Mode::Demo) => demo().await,
        Ok(Mode::Serve { port }) => serve(port).await,
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

async fn demo() -> Result<(), Box<dyn Error>> {
    // One request makes a handler panic. The hook prints one line, independent of RUST_BACKTRACE.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let page = std::env::current_exe()?.with_extension("html");
    // The demonstration draws each trace when all of its spans have ended, so that the quiet period must not expire.
    let waterfall = Waterfall::stdout().with_quiet(Duration::from_secs(60)).with_html(&page)?;
    let services = Services::start(0, &waterfall).await?;
    demo::run(&services, &waterfall).await?;
    services.stop().await;
    eprintln!("All traces on one page: {}", page.display());
    Ok(())
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let services = Services::start(port, &Waterfall::stdout()).await?;
    println!("users     http://{}", services.users);
    println!("accounts  http://{}", services.accounts);
    println!(
        "Each trace is drawn when it is complete. Ctrl-C stops both services and prints their metrics.\n"
    );
    services.shutdown_signal().await;
    services.stop().await;
    Ok(())
}
