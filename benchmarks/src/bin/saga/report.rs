//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cells::facts;
use benchmarks::cli::Options;
use benchmarks::measure::median;
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, count, whole};

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

/// Measures all cells and prints the tables.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|text| name.contains(&**text));
    let mut goals = (0, 0);
    println!("# Sagas: cost of journals and telemetry\n");
    println!("{}\n", facts(valgrind.as_deref()));
    if !has_postgres() {
        println!(
            "Postgres was not measured: {POSTGRES_URL} is not set (`cargo xtask services up postgres`).\n"
        );
    }
    if wanted("appends") {
        appends(&mut goals)?;
    }
    if wanted("throughput") {
        throughput(&mut goals)?;
    }
    if wanted("recovery") {
        recovery(&mut goals)?;
    }
    if wanted("step") {
        step(valgrind.is_some(), &mut goals)?;
    }
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
    Ok(())
}

fn has_postgres() -> bool {
    std::env::var_os(POSTGRES_URL).is_some()
}

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Postgres || has_postgres())
}

/// Returns the medians of the values that a cell prints, one per name.
fn medians<const N: usize>(cell: &[&str], names: [&str; N]) -> Result<[f64; N], Failure> {
    let arguments: Vec<&str> = ["--cell"].iter().chain(cell).copied().collect();
    let binary = std::env::current_exe()?;
    let rounds = (1..=ROUNDS).map(|round| {
        eprintln!("measuring {}, round {round} of {ROUNDS}", cell.join(" "));
        process::numbers(&binary, &arguments)
    });
    let rounds = rounds.collect::<Result<Vec<_>, _>>()?;
    Ok(names.map(|name| {
        median(&mut rounds.iter().filter_map(|round| round.get(name).copied()).collect::<Vec<_>>())
    }))
}

fn appends(sum: &mut (usize, usize)) -> Result<(), Failure> {
    println!("## Durable appends\n");
    let mut table = Table::new(&["", "concurrent sagas", "appends per second", "appends per sync", "goals"]);
    for kind in kinds().filter(|kind| *kind != Kind::Memory) {
        for sagas in ["64", "512"] {
            let cell = ["appends", kind.name(), sagas];
            let [second, sync] = medians(&cell, ["appends_a_second", "appends_a_sync"])?;
            let mut goals = Goals::default();
            let least = match (kind, sagas) {
                (Kind::Redb, "64") => 20_000.0,
                (Kind::Redb, _) => 30_000.0,
                (_, "64") => 5_000.0,
                _ => 8_000.0,
            };
            goals.at_least(second.round(), least, " a second");
            if kind == Kind::Redb && sagas == "64" {
                goals.at_least(sync, 16.0, " a sync");
            }
            goals.add_to(sum);
            let sync = if sync.is_nan() { whole(sync) } else { format!("{sync:.0}") };
            table.row(vec![kind.name().to_owned(), sagas.to_owned(), whole(second), sync, goals.cell()]);
        }
    }
    table.print();
    Ok(())
}

fn throughput(sum: &mut (usize, usize)) -> Result<(), Failure> {
    println!("## Sagas of four steps\n");
    let large = format!("peak of eight with four outputs of {} MiB, MiB", OUTPUT >> 20);
    let mut table = Table::new(&["", "sagas per second, 64 concurrent", &large, "goals"]);
    for kind in kinds().filter(|kind| *kind != Kind::Memory) {
        let [second] = medians(&["throughput", kind.name(), "64"], ["sagas_a_second"])?;
        let [peak] = medians(&["large", kind.name()], ["peak_mib"])?;
        let mut goals = Goals::default();
        goals.at_least(second.round(), if kind == Kind::Redb { 3_000.0 } else { 1_500.0 }, " a second");
        goals.at_most_exactly(peak, 500.0, " MiB");
        goals.add_to(sum);
        table.row(vec![kind.name().to_owned(), whole(second), whole(peak), goals.cell()]);
    }
    table.print();
    Ok(())
}

fn recovery(sum: &mut (usize, usize)) -> Result<(), Failure> {
    println!("## {} unfinished sagas of a dead worker\n", whole(SAGAS as f64));
    let head = ["", "open, ms", "first step, ms", "claim all, s", "count, ms", "goals"];
    let mut table = Table::new(&head);
    for kind in kinds() {
        let names = ["open_ms", "first_ms", "claimed_s", "counts_ms"];
        let [open, first, claimed, counts] = medians(&["recovery", kind.name()], names)?;
        let mut goals = Goals::default();
        if kind != Kind::Memory {
            goals.at_most_exactly(first, 100.0, " ms");
        }
        if kind == Kind::Postgres {
            goals.at_most_exactly(claimed, 10.0, " s");
        }
        goals.add_to(sum);
        let one = |value: f64| format!("{value:.1}");
        table.row(vec![
            kind.name().to_owned(),
            one(open),
            one(first),
            one(claimed),
            one(counts),
            goals.cell(),
        ]);
    }
    table.print();
    Ok(())
}

fn step(counts: bool, sum: &mut (usize, usize)) -> Result<(), Failure> {
    println!("## One step of sagas with {STEPS} no-op steps\n");
    let head = ["", "concurrent sagas", "instructions", "allocations", "ns", "telemetry's share"];
    let mut table = Table::new(&head);
    let mut telemetry_own = f64::NAN;
    for (kind, at_once) in [(Kind::Memory, 1), (Kind::Redb, 1), (Kind::Redb, TOGETHER)] {
        let mut instructions = [f64::NAN; 2];
        for (telemetry, instructions) in ["off", "on"].into_iter().zip(&mut instructions) {
            let sagas = if (kind, at_once) == (Kind::Redb, 1) { "100" } else { "2048" };
            let cell = ["step", kind.name(), telemetry, sagas, &at_once.to_string()];
            let [nanoseconds, allocations] = medians(&cell, ["nanoseconds", "allocations"])?;
            if counts {
                *instructions = instructions_of(kind, telemetry, at_once)?;
            }
            table.row(vec![
                format!("{}, telemetry {telemetry}", kind.name()),
                at_once.to_string(),
                whole(*instructions),
                count(allocations),
                whole(nanoseconds),
                String::new(),
            ]);
        }
        let [off, on] = instructions;
        // The cost of redb varies with the number of appends per transaction by more than the cost of telemetry.
        if kind == Kind::Memory {
            telemetry_own = on - off;
        }
        let share = telemetry_own / on * 100.0;
        let mut goals = Goals::default();
        if kind == Kind::Redb {
            goals.at_most_exactly(share, 5.0, " %");
        }
        goals.add_to(sum);
        let share = if kind == Kind::Redb || !counts { goals.cell() } else { format!("{share:.1} %") };
        table.last(share);
    }
    table.print();
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
