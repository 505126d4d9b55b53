//! `saga-admin`: inspects and controls sagas from a terminal.
//!
//! Follows `docs/sagas.md`, "Requests": a request is a record that a worker of the application carries out, so that
//! no definition is needed here. Exit codes: 0 on success; 1 after an error; 2 for arguments that cannot be parsed.

mod args;
mod commands;
mod selection;
mod table;

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use otel_saga::SagaAdmin;
use otel_saga::journal::{Journal, OpenError, PostgresOptions, RedbJournal};

use crate::args::{Args, Command};

type BoxError = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BoxError::from)
        .and_then(|runtime| runtime.block_on(run(&args)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Returns false if the command failed for one of several ids; the errors are already printed.
async fn run(args: &Args) -> Result<bool, BoxError> {
    if let (Command::Migrate, Some(url)) = (&args.command, &args.journal.postgres) {
        PostgresOptions::new(url)?.with_schema(&*args.schema).migrate().await?;
        return Ok(true);
    }
    let admin = SagaAdmin::new(open(args).await?);
    commands::run(&admin, args).await
}

async fn open(args: &Args) -> Result<Arc<dyn Journal>, BoxError> {
    if let Some(url) = &args.journal.postgres {
        let options = PostgresOptions::new(url)?.with_schema(&*args.schema);
        return Ok(Arc::new(options.connect().await?));
    }
    let path = args.journal.redb.as_deref().unwrap_or(Path::new(""));
    // `RedbJournal::open` creates a missing file, so that a misspelt name would show an empty journal.
    if !path.is_file() {
        return Err(format!("`{}` is no file", path.display()).into());
    }
    match RedbJournal::open(path) {
        Ok(journal) => Ok(Arc::new(journal)),
        Err(OpenError::InUse { path }) => Err(format!(
            "`{}` is in use: one process has the file for itself, also against readers. Stop the application first.",
            path.display()
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}

/// Prints an error and its causes in one line.
fn complain(error: &(dyn Error + 'static)) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors include their cause in their own text.
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    let _ = writeln!(std::io::stderr(), "saga-admin: {}", table::plain(&text));
}
