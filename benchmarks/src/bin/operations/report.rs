//! Runs the programs in Rust and Go in turn and adds the table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use benchmarks::cli::Options;
use benchmarks::measure::{median, range};
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

const ROUNDS: usize = 5;

/// The rows that measure only the SDKs, and those with traced requests.
const SDK: [(&str, &str); 5] = [
    ("no-op-span", "a span of the no-op tracer"),
    ("sdk-span", "a span without attributes"),
    ("sdk-span-10", "a span with ten attributes"),
    ("sdk-nested-5", "five nested spans"),
    ("sdk-tasks-8", "eight tasks with a span each"),
];
const REQUESTS: [(&str, &str); 4] = [
    ("http-untraced", "HTTP request, untraced"),
    ("http-traced", "HTTP request, client and server traced"),
    ("grpc-untraced", "gRPC call, untraced"),
    ("grpc-traced", "gRPC call, client and server traced"),
];

type Figures = HashMap<String, f64>;

/// Measures all operations and adds the tables.
pub(crate) fn report(_options: &Options, document: &mut Document) -> Result<(), Failure> {
    document.title("Operations beside OpenTelemetry Go");
    let rust = std::env::current_exe()?;
    let go = build_go()?;
    let mut rounds: [Vec<Figures>; 2] = Default::default();
    for round in 1..=ROUNDS {
        eprintln!("measuring operations, round {round} of {ROUNDS}");
        rounds[0].push(process::numbers(&rust, &["--cell", "all"])?);
        if let Some(go) = &go {
            rounds[1].push(process::numbers(go, &[])?);
        }
    }
    document.section("Spans: the SDKs, not our crates");
    add(&SDK, ["Rust, opentelemetry_sdk 0.33", "Go, sdk 1.47"], &rounds, document);
    document.section("Requests over a loopback socket, one at a time");
    add(&REQUESTS, ["Rust, otel-http and otel-grpc", "Go, otelhttp and otelgrpc 0.72"], &rounds, document);
    if go.is_none() {
        document.note("Go was not measured, because it is not installed.");
    }
    Ok(())
}

fn add(
    operations: &[(&str, &str)],
    languages: [&str; 2],
    rounds: &[Vec<Figures>; 2],
    document: &mut Document,
) {
    let mut table =
        Table::new(&["operations a second (range)", "p50, ns", "p99, ns", "bytes", "allocations"]);
    for (operation, title) in operations {
        for (language, rounds) in languages.iter().zip(rounds).filter(|(_, rounds)| !rounds.is_empty()) {
            let values = |figure: &str| -> Vec<f64> {
                let name = format!("{operation}.{figure}");
                rounds.iter().filter_map(|round| round.get(&name).copied()).collect()
            };
            let median = |figure: &str| median(&mut values(figure));
            let rate = Cell::whole(median("per_second")).with_spread(range(&values("per_second")));
            let cells = vec![
                rate,
                Cell::whole(median("p50")),
                Cell::whole(median("p99")),
                Cell::whole(median("bytes")),
                Cell::count(median("allocations")),
            ];
            table.row(format!("{title}: {language}"), cells, Goals::default());
        }
    }
    document.table(table);
}

/// Builds the program in Go; returns `None` if Go is not installed.
fn build_go() -> Result<Option<PathBuf>, Failure> {
    if Command::new("go").arg("version").output().is_err() {
        return Ok(None);
    }
    let binary = process::target()?.join("go/operations");
    let mut build = Command::new("go");
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("go"));
    // No other toolchain is downloaded: an older one than go.mod asks for is an error.
    build.env("GOTOOLCHAIN", "local").args(["build", "-o"]).arg(&binary).arg(".");
    if !build.status()?.success() {
        return Err("the program in Go cannot be built".into());
    }
    Ok(Some(binary))
}
