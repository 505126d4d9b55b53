//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cli::Options;
use benchmarks::measure::{median, range};
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table, whole};

use crate::cell::Kind;
use crate::journals::POSTGRES_URL;
use crate::recovery::SAGAS;
use crate::step::STEPS;
use crate::throughput::OUTPUT;

/// The number of repetitions of time measurements, of which the median is reported.
const ROUNDS: usize = 3;
/// The numbers of sagas whose difference gives the instructions per step, without the fixed cost of the process.
const FEW: usize = 50;
const MANY: usize = 250;
/// The number of concurrent sagas, as in the appends with the same goal.
const TOGETHER: usize = 64;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let counts = options.counts()?;
    document.title("Sagas: cost of journals and telemetry");
    if options.wants("appends") {
        appends(document)?;
    }
    if options.wants("throughput") {
        throughput(document)?;
    }
    if options.wants("recovery") {
        recovery(document)?;
    }
    if options.wants("step") {
        step(counts, document)?;
    }
    if !has_postgres() {
        document.note(format!(
            "Postgres was not measured: {POSTGRES_URL} is not set (`cargo xtask services up postgres`)."
        ));
    }
    Ok(())
}

fn has_postgres() -> bool {
    std::env::var_os(POSTGRES_URL).is_some()
}

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Postgres || has_postgres())
}

/// The rounds of a value.
struct Rounds(Vec<f64>);

impl Rounds {
    fn median(&self) -> f64 {
        median(&mut self.0.clone())
    }

    /// Returns the median and the range, with so many decimals.
    fn cell(&self, decimals: usize) -> Cell {
        let value = self.median();
        let cell = if decimals == 0 { Cell::whole(value) } else { Cell::decimal(value, decimals) };
        cell.with_spread(range(&self.0))
    }
}

/// Returns the rounds of the values that a cell prints, one per name.
fn measure<const N: usize>(cell: &[&str], names: [&str; N]) -> Result<[Rounds; N], Failure> {
    let arguments: Vec<&str> = ["--cell"].iter().chain(cell).copied().collect();
    let binary = std::env::current_exe()?;
    let rounds = (1..=ROUNDS).map(|round| {
        eprintln!("measuring {}, round {round} of {ROUNDS}", cell.join(" "));
        process::numbers(&binary, &arguments)
    });
    let rounds = rounds.collect::<Result<Vec<_>, _>>()?;
    Ok(names.map(|name| Rounds(rounds.iter().filter_map(|round| round.get(name).copied()).collect())))
}

fn appends(document: &mut Document) -> Result<(), Failure> {
    document.section("Durable appends");
    let mut table = Table::new(&["appends per second (range)", "appends per sync"]);
    for kind in kinds().filter(|kind| *kind != Kind::Memory) {
        for sagas in ["64", "512"] {
            let cell = ["appends", kind.name(), sagas];
            let [second, sync] = measure(&cell, ["appends_a_second", "appends_a_sync"])?;
            let mut goals = Goals::default();
            let least = match (kind, sagas) {
                (Kind::Redb, "64") => 20_000.0,
                (Kind::Redb, _) => 30_000.0,
                (_, "64") => 5_000.0,
                _ => 8_000.0,
            };
            goals.at_least(second.median().round(), least, " a second");
            if kind == Kind::Redb && sagas == "64" {
                goals.at_least(sync.median(), 16.0, " a sync");
            }
            let name = format!("{}, {sagas} concurrent sagas", kind.name());
            table.row(name, vec![second.cell(0), Cell::whole(sync.median())], goals);
        }
    }
    document.table(table);
    Ok(())
}

fn throughput(document: &mut Document) -> Result<(), Failure> {
    document.section("Sagas of four steps");
    let large = format!("peak of eight with four outputs of {} MiB, MiB", OUTPUT >> 20);
    let mut table = Table::new(&["sagas per second, 64 concurrent (range)", &large]);
    for kind in kinds().filter(|kind| *kind != Kind::Memory) {
        let [second] = measure(&["throughput", kind.name(), "64"], ["sagas_a_second"])?;
        let [peak] = measure(&["large", kind.name()], ["peak_mib"])?;
        let mut goals = Goals::default();
        goals.at_least(
            second.median().round(),
            if kind == Kind::Redb { 3_000.0 } else { 1_500.0 },
            " a second",
        );
        goals.at_most_exactly(peak.median(), 500.0, " MiB");
        table.row(kind.name(), vec![second.cell(0), peak.cell(0)], goals);
    }
    document.table(table);
    Ok(())
}

fn recovery(document: &mut Document) -> Result<(), Failure> {
    document.section(format!("{} unfinished sagas of a dead worker", whole(SAGAS as f64)));
    let head = ["open, ms (range)", "first step, ms", "claim all, s", "count, ms"];
    let mut table = Table::new(&head);
    for kind in kinds() {
        let names = ["open_ms", "first_ms", "claimed_s", "counts_ms"];
        let [open, first, claimed, counts] = measure(&["recovery", kind.name()], names)?;
        let mut goals = Goals::default();
        if kind != Kind::Memory {
            goals.at_most_exactly(first.median(), 100.0, " ms");
        }
        if kind == Kind::Postgres {
            goals.at_most_exactly(claimed.median(), 10.0, " s");
        }
        table.row(
            kind.name(),
            [open, first, claimed, counts].iter().map(|rounds| rounds.cell(1)).collect(),
            goals,
        );
    }
    document.table(table);
    Ok(())
}

fn step(counts: bool, document: &mut Document) -> Result<(), Failure> {
    document.section(format!("One step of sagas with {STEPS} no-op steps"));
    let mut table = Table::new(&["instructions", "allocations", "ns (range)", "telemetry's share"]);
    let mut telemetry_own = f64::NAN;
    for (kind, at_once) in [(Kind::Memory, 1), (Kind::Redb, 1), (Kind::Redb, TOGETHER)] {
        let mut off = f64::NAN;
        for telemetry in ["off", "on"] {
            let sagas = if (kind, at_once) == (Kind::Redb, 1) { "100" } else { "2048" };
            let cell = ["step", kind.name(), telemetry, sagas, &at_once.to_string()];
            let [nanoseconds, allocations] = measure(&cell, ["nanoseconds", "allocations"])?;
            let instructions = if counts { instructions_of(kind, telemetry, at_once)? } else { f64::NAN };
            let mut goals = Goals::default();
            let mut share = f64::NAN;
            if telemetry == "off" {
                off = instructions;
            } else {
                // The cost of redb varies with the number of appends per transaction by more than the cost of telemetry.
                if kind == Kind::Memory {
                    telemetry_own = instructions - off;
                }
                share = telemetry_own / instructions * 100.0;
                if kind == Kind::Redb {
                    goals.at_most_exactly(share, 5.0, " %");
                }
            }
            let share = if share.is_nan() { String::new() } else { format!("{share:.1} %") };
            let cells = vec![
                Cell::whole(instructions),
                Cell::count(allocations.median()),
                nanoseconds.cell(0),
                share.into(),
            ];
            let name = format!("{}, {at_once} concurrent, telemetry {telemetry}", kind.name());
            table.row(name, cells, goals);
        }
    }
    document.table(table);
    Ok(())
}

/// Counts the instructions of one step in all threads of the process.
fn instructions_of(kind: Kind, telemetry: &str, at_once: usize) -> Result<f64, Failure> {
    let binary = std::env::current_exe()?;
    let (few, many) = if at_once == 1 { (FEW, MANY) } else { (2 * at_once, 10 * at_once) };
    let of = |sagas: usize| {
        eprintln!(
            "counting instructions of {sagas} sagas, {at_once} concurrent, {}, telemetry {telemetry}",
            kind.name()
        );
        let (sagas, at_once) = (sagas.to_string(), at_once.to_string());
        process::whole_process(&binary, &["--cell", "step", kind.name(), telemetry, &sagas, &at_once])
    };
    Ok((of(many)? - of(few)?) / ((many - few) * STEPS) as f64)
}
