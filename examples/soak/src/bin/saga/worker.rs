//! A worker process: two runtimes on a file, or one on Postgres. It starts its transfers, and waits for their ends.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use otel_saga::journal::{Journal, PostgresOptions, RedbJournal};
use otel_saga::{Runtime, Saga, StartError};
use sqlx::postgres::PgPoolOptions;

use crate::bank::{Bank, Transfer, saga};
use crate::spans;

/// The lease of a worker. A pause that is to lose it is longer.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// The variables that configure a worker process.
const FOLDER: &str = "SOAK_SAGA_FOLDER";
const JOURNAL: &str = "SOAK_SAGA_JOURNAL";
const URL: &str = "SOAK_SAGA_URL";
const TRANSFERS: &str = "SOAK_SAGA_TRANSFERS";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redb,
    Postgres,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Postgres => "postgres",
        }
    }
}

/// The configuration of a worker process.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) kind: Kind,
    pub(crate) folder: PathBuf,
    /// The database of the bank, and of a journal in Postgres.
    pub(crate) url: String,
    /// The numbers of the transfers that it starts: the first, and the one after the last.
    pub(crate) transfers: (u64, u64),
}

impl Worker {
    /// Starts the process. Its standard error is kept in the folder.
    pub(crate) fn spawn(&self) -> Result<Child, Box<dyn Error>> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let (first, last) = self.transfers;
        let mut command = Command::new(std::env::current_exe()?);
        command.env(FOLDER, &self.folder).env(JOURNAL, self.kind.name()).env(URL, &self.url);
        command.env(TRANSFERS, format!("{first}-{last}"));
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?)
    }

    /// Returns the configuration of this process, if it is a worker.
    pub(crate) fn from_env() -> Option<Self> {
        let folder = std::env::var_os(FOLDER)?.into();
        let kind = if std::env::var(JOURNAL).ok()? == "redb" { Kind::Redb } else { Kind::Postgres };
        let transfers = std::env::var(TRANSFERS).ok()?;
        let (first, last) = transfers.split_once('-')?;
        let transfers = (first.parse().ok()?, last.parse().ok()?);
        Some(Self { kind, folder, url: std::env::var(URL).ok()?, transfers })
    }

    /// Runs the worker until all of its transfers have ended.
    pub(crate) async fn run(self) -> Result<(), Box<dyn Error>> {
        let pool = PgPoolOptions::new().max_connections(16).connect_lazy(&self.url)?;
        let journal = journal(self.kind, &self.folder, &self.url).await?;
        let (provider, saga) = (spans::provider(&self.folder), saga()?);
        let workers = if self.kind == Kind::Redb { 2 } else { 1 };
        let runtimes: Vec<_> = (0..workers)
            .map(|_| {
                Runtime::builder(Arc::clone(&journal), Bank { pool: pool.clone() })
                    .with_saga(&saga)
                    .with_lease(LEASE)
                    .with_poll_interval(Duration::from_millis(100))
                    .with_tracer_provider(&provider)
                    .start()
            })
            .collect();
        let (first, last) = self.transfers;
        let starts = (first..last).map(|number| {
            let runtime = &runtimes[number as usize % runtimes.len()];
            start(runtime, &saga, number)
        });
        let ids = try_join_all(starts).await?;
        for id in &ids {
            runtimes[0].wait(id).await?;
        }
        for runtime in runtimes {
            runtime.shutdown(Duration::from_secs(10)).await;
        }
        Ok(())
    }
}

/// Starts a transfer. A repeated key is no harm, and the journal may be unavailable.
async fn start(
    runtime: &Runtime<Bank>,
    saga: &Saga<Bank, Transfer>,
    number: u64,
) -> Result<String, StartError> {
    loop {
        match runtime.start(saga, &number.to_string(), Transfer::new(number)).await {
            Err(StartError::Journal(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            started => return started,
        }
    }
}

/// Opens the journal.
pub(crate) async fn journal(
    kind: Kind,
    folder: &Path,
    url: &str,
) -> Result<Arc<dyn Journal>, Box<dyn Error>> {
    Ok(match kind {
        Kind::Redb => Arc::new(RedbJournal::open(folder.join("sagas.redb"))?),
        Kind::Postgres => Arc::new(PostgresOptions::new(url)?.connect().await?),
    })
}
