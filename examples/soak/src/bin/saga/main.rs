//! The saga soak: worker processes that are killed, paused beyond their lease, and left without Postgres, while they run
//! transfers. The checks at the end account for every transfer, cent and span.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a soak prints to its terminal")]

mod bank;
mod checks;
#[path = "../../../../../crates/otel-saga/tests/postgres/server.rs"]
#[expect(clippy::unwrap_used, reason = "the file is one of the tests of otel-saga")]
mod server;
mod spans;
mod worker;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use otel_saga::journal::PostgresOptions;
use soak::{Arguments, Random, Report};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::server::Server;
use crate::worker::{Kind, LEASE, Worker};

/// The number of transfers that each started process adds.
const BATCH: u64 = 20;
/// The longest time from the start of a process to its kill, in milliseconds.
const LIFE: u64 = 900;
/// One kill of so many is a pause beyond the lease before it, and one a restart of Postgres.
const PAUSES: u64 = 4;
const RESTARTS: u64 = 10;
/// The longest time in which all transfers have to end after the last kill.
const END: Duration = Duration::from_secs(180);

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(worker) = Worker::from_env() {
        return match worker.run().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let kinds = match arguments.iter().position(|argument| argument == "--journal") {
        None => vec![Kind::Redb, Kind::Postgres],
        Some(place) => match arguments.drain(place..(place + 2).min(arguments.len())).nth(1).as_deref() {
            Some("redb") => vec![Kind::Redb],
            Some("postgres") => vec![Kind::Postgres],
            _ => {
                eprintln!("--journal needs redb or postgres");
                return ExitCode::from(2);
            }
        },
    };
    soak::run_with("saga", ("--kills", 100, 1), arguments, |arguments| soak(arguments, kinds)).await
}

async fn soak(arguments: Arguments, kinds: Vec<Kind>) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::default();
    for kind in kinds {
        println!("soak saga: {} kills on {}, seed {}", arguments.requests, kind.name(), arguments.seed);
        let mut run = Run::new(kind, arguments.seed).await?;
        run.kill(arguments.requests).await?;
        run.end(&mut report).await?;
    }
    Ok(report)
}

/// One journal, and the processes on it.
struct Run {
    worker: Worker,
    random: Random,
    server: Server,
    pool: PgPool,
    processes: Vec<Child>,
    transfers: u64,
}

impl Run {
    async fn new(kind: Kind, seed: u64) -> Result<Self, Box<dyn Error>> {
        let server = Server::start();
        let url = format!("{}/postgres", server.url());
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url)?;
        // The server listens before it accepts sessions.
        while pool.acquire().await.is_err() {}
        bank::create(&pool).await?;
        if kind == Kind::Postgres {
            PostgresOptions::new(&url)?.migrate().await?;
        }
        let folder: PathBuf =
            std::env::temp_dir().join(format!("soak-saga-{}-{}", kind.name(), std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let worker = Worker { kind, folder, url, transfers: (0, 0) };
        Ok(Self { worker, random: Random::new(seed, 0), server, pool, processes: Vec::new(), transfers: 0 })
    }

    /// Starts a process with the next transfers.
    fn spawn(&mut self) -> Result<(), Box<dyn Error>> {
        let first = self.transfers;
        self.transfers += BATCH;
        self.worker.transfers = (first, self.transfers);
        self.processes.push(self.worker.spawn()?);
        Ok(())
    }

    /// Kills processes, and starts others in their place. A file has one at a time.
    async fn kill(&mut self, kills: u64) -> Result<(), Box<dyn Error>> {
        let at_once = if self.worker.kind == Kind::Redb { 1 } else { 2 };
        let (mut pauses, mut restarts, began) = (0, 0, Instant::now());
        for number in 1..=kills {
            while self.processes.len() < at_once {
                self.spawn()?;
            }
            tokio::time::sleep(Duration::from_millis(100 + self.random.below(LIFE - 100))).await;
            let victim = usize::try_from(self.random.below(self.processes.len() as u64))?;
            if self.random.below(PAUSES) == 0 {
                let process = self.processes[victim].id();
                signal(process, "STOP")?;
                tokio::time::sleep(LEASE * 2).await;
                signal(process, "CONT")?;
                // The worker finds out that its sagas have another owner.
                tokio::time::sleep(Duration::from_millis(self.random.below(300))).await;
                pauses += 1;
            }
            if self.random.below(RESTARTS) == 0 {
                self.server.crash();
                tokio::time::sleep(Duration::from_millis(self.random.below(500))).await;
                self.server.start_again();
                restarts += 1;
            }
            let mut process = self.processes.swap_remove(victim);
            end(&mut process)?;
            if number % 10 == 0 || number == kills {
                println!(
                    "  {number} kills, {pauses} pauses, {restarts} restarts of Postgres in {:.0?}",
                    began.elapsed()
                );
            }
        }
        Ok(())
    }

    /// Runs all transfers to their ends, and checks everything.
    async fn end(mut self, report: &mut Report) -> Result<(), Box<dyn Error>> {
        // Killed as well: a process that ends by itself leaves nothing to recover.
        for mut process in self.processes.drain(..) {
            end(&mut process)?;
        }
        self.worker.transfers = (0, self.transfers);
        let mut last = self.worker.spawn()?;
        let began = Instant::now();
        let ended = loop {
            if let Some(status) = last.try_wait()? {
                break status.success();
            }
            if began.elapsed() > END {
                end(&mut last)?;
                break false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let name = self.worker.kind.name();
        let text = format!("{name}: the last process has ended all transfers in {:.0?}", began.elapsed());
        report.check(if ended { Ok(text) } else { Err(text) });
        let journal = worker::journal(self.worker.kind, &self.worker.folder, &self.worker.url).await?;
        checks::check(report, &self.worker, &*journal, &self.pool, self.transfers).await?;
        drop(journal);
        self.pool.close().await;
        if report.failures().is_empty() {
            std::fs::remove_dir_all(&self.worker.folder)?;
        } else {
            println!("  the journal, the spans and the log are in {}", self.worker.folder.display());
        }
        Ok(())
    }
}

/// Kills a process, and waits until it is gone.
fn end(process: &mut Child) -> Result<(), Box<dyn Error>> {
    let killed = process.kill();
    process.wait()?;
    Ok(killed?)
}

fn signal(process: u32, name: &str) -> Result<(), Box<dyn Error>> {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status()?;
    if sent.success() { Ok(()) } else { Err(format!("kill -{name} {process} failed").into()) }
}
