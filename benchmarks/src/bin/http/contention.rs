//! The throughput of the server layers on 1 to 8 threads that share one layer, its series and the providers.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use benchmarks::cli::Options;
use benchmarks::measure::{median, range};
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

use crate::cell::{Candidate, Side, Variant, install};
use crate::{requests, server};

/// The side of these cells.
pub(crate) const CONTENTION: &str = "contention";

const THREADS: [usize; 4] = [1, 2, 4, 8];

/// The requests of each thread.
const REQUESTS: usize = 40_000;

const ROUNDS: usize = 5;

const CANDIDATES: [Candidate; 6] = [
    Candidate::PassThrough,
    Candidate::TowerOtel,
    Candidate::InstrumentationTower,
    Candidate::Oxtel,
    Candidate::Floor,
    Candidate::Ours,
];

/// Serves requests on so many threads and prints the microseconds of the elapsed time a request.
pub(crate) fn measure(candidate: &str, threads: &str) -> Option<()> {
    let (candidate, threads) = (Candidate::parse(candidate)?, threads.parse::<usize>().ok()?);
    let _installed = install(Side::Server, candidate, Variant::Unsampled);
    let app = server::of(candidate, Variant::Unsampled)?;
    let (ready, done) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let elapsed = thread::scope(|scope| {
        for _ in 0..threads {
            let mut app = app.clone();
            let (ready, done) = (&ready, &done);
            scope.spawn(move || {
                for _ in 0..REQUESTS / 10 {
                    server::serve(&mut app, requests::server(Variant::Unsampled));
                }
                ready.wait();
                for _ in 0..REQUESTS {
                    server::serve(&mut app, requests::server(Variant::Unsampled));
                }
                done.wait();
            });
        }
        ready.wait();
        let started = Instant::now();
        done.wait();
        started.elapsed()
    });
    println!("microseconds {}", elapsed.as_secs_f64() * 1e6 / (threads * REQUESTS) as f64);
    Some(())
}

/// Measures all cells and adds the table.
pub(crate) fn add(options: &Options, document: &mut Document) -> Result<(), Failure> {
    if !options.wants(CONTENTION) {
        return Ok(());
    }
    let binary = std::env::current_exe()?;
    let mut times = vec![[const { Vec::new() }; THREADS.len()]; CANDIDATES.len()];
    for round in 1..=ROUNDS {
        eprintln!("measuring threads, round {round} of {ROUNDS}");
        for (candidate, times) in CANDIDATES.iter().zip(&mut times) {
            for (threads, times) in THREADS.iter().zip(times) {
                let arguments = ["--cell", CONTENTION, candidate.name(), &threads.to_string()];
                let printed = process::numbers(&binary, &arguments)?;
                times.push(printed.get("microseconds").copied().unwrap_or(f64::NAN));
            }
        }
    }
    document.section(
        "Contention: microseconds of elapsed time a request, unsampled, on threads that share the layer",
    );
    let columns = THREADS.map(|threads| format!("{threads} threads (range)"));
    let mut table = Table::new(&columns.each_ref().map(String::as_str));
    for (&candidate, times) in CANDIDATES.iter().zip(&times) {
        let cells =
            times.iter().map(|times| Cell::decimal(median(&mut times.clone()), 2).with_spread(range(times)));
        table.row(crate::report::name(candidate), cells.collect(), Goals::default());
    }
    document.table(table);
    document.note(
        "A request without contention takes half the time on two threads where there are two cores. Threads beyond the \
         cores share them: these columns show that no lock is held across a preemption, and not more.",
    );
    Ok(())
}
