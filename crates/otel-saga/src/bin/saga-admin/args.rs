//! What `saga-admin` can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use otel_saga::journal::Status;

/// Looks at sagas and tells them what to do, in the journal of an application: in Postgres while it runs, in a file
/// (redb) while it is stopped. In a journal of two-phase commits it looks and changes nothing.
#[derive(Debug, Parser)]
#[command(name = "saga-admin", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    /// The journal's schema in Postgres.
    #[arg(long, global = true, default_value = "saga")]
    pub(crate) schema: String,
    /// Print JSON, one document a line, and no tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct JournalArgs {
    /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE.
    #[arg(long, value_name = "URL", env = "SAGA_POSTGRES", hide_env_values = true)]
    pub(crate) postgres: Option<String>,
    /// The file. The application has to be stopped: one process has it for itself.
    #[arg(long, value_name = "FILE")]
    pub(crate) redb: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List instances in the order of their ids.
    List {
        /// Of this saga.
        #[arg(long)]
        saga: Option<String>,
        /// In this status.
        #[arg(long)]
        status: Option<StatusArg>,
        /// Those behind this id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Show what happened to an instance.
    Show {
        /// The instance.
        id: String,
        /// Also what the saga was started with, and what its steps have answered.
        #[arg(long)]
        payloads: bool,
    },
    /// Count instances by saga and status.
    Counts,
    /// Let instances that wait for their next attempt make it now; not those that are parked.
    Retry {
        /// The instances.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Let instances stand still until they are unparked.
    Park {
        /// The instances.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Why, for whoever finds them.
        #[arg(long, default_value = "parked by an operator")]
        reason: String,
    },
    /// Let parked instances go on.
    Unpark {
        /// The instances.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Have instances undone. Too late once the pivot was begun.
    Cancel {
        /// The instances.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Forget instances that ended long ago.
    Prune {
        /// How long ago: 30d, 12h, 5m, 10s.
        #[arg(long, value_name = "AGE", value_parser = age)]
        older_than: Duration,
    },
    /// Make the tables in Postgres, or bring them to what this version needs. A file needs nothing.
    Migrate,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StatusArg {
    Running,
    Parked,
    #[value(alias = "committed")]
    Completed,
    #[value(alias = "aborted")]
    Compensated,
}

impl From<StatusArg> for Status {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Running => Self::Running,
            StatusArg::Parked => Self::Parked,
            StatusArg::Completed => Self::Completed,
            StatusArg::Compensated => Self::Compensated,
        }
    }
}

fn age(text: &str) -> Result<Duration, String> {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let parts = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds = parts.and_then(|(number, seconds)| number.parse::<u64>().ok()?.checked_mul(*seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "a number and one of d, h, m, s".to_owned())
}
