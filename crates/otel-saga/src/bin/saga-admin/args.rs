//! The command-line arguments of `saga-admin`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use otel_saga::flow::Resolution;
use otel_saga::journal::Status;
use serde_json::Value;

/// Inspects sagas and sends them requests, through the journal of an application: on Postgres while the application
/// runs, on a redb file while it is stopped. The journal of a two-phase-commit coordinator is read-only.
#[derive(Debug, Parser)]
#[command(name = "saga-admin", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    /// Schema of the journal in Postgres.
    #[arg(long, global = true, default_value = "saga")]
    pub(crate) schema: String,
    /// Print JSON, one document per line, instead of tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct JournalArgs {
    /// URL of the database: postgres://USER:PASSWORD@HOST:PORT/DATABASE.
    #[arg(long, value_name = "URL", env = "SAGA_POSTGRES", hide_env_values = true)]
    pub(crate) postgres: Option<String>,
    /// Path of the redb file. Stop the application first: the file admits one process at a time.
    #[arg(long, value_name = "FILE")]
    pub(crate) redb: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List instances in the order of their ids.
    List {
        /// Only instances of this saga.
        #[arg(long)]
        saga: Option<String>,
        /// Only instances in this status.
        #[arg(long)]
        status: Option<StatusArg>,
        /// Only instances that are parked, or are to be, for a reason that contains this text.
        #[arg(long, value_name = "TEXT")]
        reason_contains: Option<String>,
        /// Only instances whose id sorts after this one.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// Maximum number of instances.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Show the history of an instance.
    Show {
        /// Id of the instance.
        id: String,
        /// Also show the saga's input and the outputs of its steps.
        #[arg(long)]
        payloads: bool,
    },
    /// Count instances by saga and status.
    Counts,
    /// Start the next attempt of waiting instances now; parked instances are refused.
    Retry {
        #[command(flatten)]
        selection: Selection,
    },
    /// Park instances: no attempt starts until they are unparked.
    Park {
        #[command(flatten)]
        selection: Selection,
        /// Reason, shown with the parked instance.
        #[arg(long, default_value = "parked by an operator")]
        reason: String,
    },
    /// Unpark instances, so that they continue.
    Unpark {
        #[command(flatten)]
        selection: Selection,
    },
    /// Cancel instances: completed steps are undone. Refused once the pivot has begun.
    Cancel {
        #[command(flatten)]
        selection: Selection,
    },
    /// State the outcome of a step of a parked instance, which stays parked until it is unparked.
    Resolve {
        /// Id of the instance.
        id: String,
        /// Name of the step.
        step: String,
        #[command(flatten)]
        resolution: ResolutionArgs,
        /// Name of the operator, journaled and in the trace.
        #[arg(long)]
        who: String,
        /// Reason, journaled and in the trace.
        #[arg(long)]
        why: String,
    },
    /// Delete instances that ended long ago.
    Prune {
        /// Minimum time since the end: 30d, 12h, 5m, 10s.
        #[arg(long, value_name = "AGE", value_parser = age)]
        older_than: Duration,
    },
    /// Create the tables in Postgres, or upgrade them to this version. Does nothing for a file.
    Migrate,
}

/// The instances to which a request is sent: by their ids, or by a filter.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Selection {
    /// Ids of the instances.
    #[arg(value_name = "ID", conflicts_with_all = ["saga", "saga_version", "status", "reason_contains"])]
    pub(crate) ids: Vec<String>,
    /// All instances of this saga.
    #[arg(long)]
    pub(crate) saga: Option<String>,
    /// All instances of this version of the definition.
    #[arg(long, value_name = "VERSION")]
    pub(crate) saga_version: Option<u32>,
    /// All instances in this status; default: parked for `unpark` and with `--reason-contains`, otherwise running.
    #[arg(long)]
    pub(crate) status: Option<StatusArg>,
    /// All instances that are parked, or are to be, for a reason that contains this text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason_contains: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ResolutionArgs {
    /// The action was done, with this output as JSON.
    #[arg(long, value_name = "OUTPUT", value_parser = json)]
    pub(crate) done: Option<Value>,
    /// The action had no effect and never will: have the participant refuse late requests first. The saga is undone.
    #[arg(long)]
    pub(crate) refused: bool,
    /// The action was undone.
    #[arg(long)]
    pub(crate) undone: bool,
}

impl ResolutionArgs {
    pub(crate) fn resolution(&self) -> Resolution {
        match &self.done {
            Some(output) => Resolution::Done(output.clone()),
            None if self.refused => Resolution::Refused,
            None => Resolution::Undone,
        }
    }
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

fn json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}

fn age(text: &str) -> Result<Duration, String> {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let parts = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds = parts.and_then(|(number, seconds)| number.parse::<u64>().ok()?.checked_mul(*seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "a number and one of d, h, m, s".to_owned())
}
