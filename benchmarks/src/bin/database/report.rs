//! Runs each cell in a separate process and prints the table with the goals.

use std::path::Path;

use benchmarks::cells::{Key, Results, facts, measure};
use benchmarks::cli::Options;
use benchmarks::messages::Variant;
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, count, whole};

use crate::cell::{Candidate, Side};

/// The number of rounds of native measurements, alternating between the candidates.
const ROUNDS: usize = 3;

/// The number of instruction counts of a cell.
const COUNTS: usize = 3;

/// The goals: the instructions of a query on a connection, over sqlx.
const UNSAMPLED: f64 = 2500.0;
const SAMPLED: f64 = 7000.0;

/// Measures all cells and prints the table.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let wanted = |key: &Key| {
        let is_base = key.candidate == Candidate::Bare.name();
        options.only.is_empty() || is_base || options.only.iter().any(|text| key.label().contains(text))
    };
    let keys: Vec<Key> = keys().filter(wanted).collect();
    let counts = |_: &Key| if valgrind.is_some() { COUNTS } else { 0 };
    // No cell is of the build without default features.
    let results = measure(&keys, Path::new(""), |_| ROUNDS, counts)?;
    let mut goals = (0, 0);
    println!("# Databases: cost of a query on SQLite in memory, over sqlx\n");
    println!("{}\n", facts(valgrind.as_deref()));
    for &side in Side::ALL {
        print_side(&results, side, &mut goals);
    }
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
    Ok(())
}

fn keys() -> impl Iterator<Item = Key> {
    let cells = Side::ALL.iter().flat_map(|&side| {
        let candidates = Candidate::ALL.iter();
        candidates
            .flat_map(move |&candidate| Variant::ALL.iter().map(move |&variant| (side, candidate, variant)))
    });
    cells
        .filter(|(_, candidate, variant)| candidate.has(*variant))
        .map(|(side, of, variant)| key(side, of, variant))
}

fn key(side: Side, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build: false, side: side.name(), candidate: candidate.name(), variant: variant.name() }
}

fn print_side(results: &Results, side: Side, sum: &mut (usize, usize)) {
    println!("## {}\n", side.name());
    let mut table = Table::new(&["", "instructions", "allocations", "ns", "goals"]);
    let bare = results.get(key(side, Candidate::Bare, Variant::Nothing));
    for &candidate in &[Candidate::Peer, Candidate::Ours] {
        for &variant in Variant::ALL {
            if !results.has(key(side, candidate, variant)) {
                continue;
            }
            let measured = results.get(key(side, candidate, variant)).over(bare);
            let mut goals = Goals::default();
            if candidate == Candidate::Ours && side == Side::Connection {
                match variant {
                    Variant::Unsampled => goals.at_most(measured.instructions, UNSAMPLED, ""),
                    Variant::Sampled => goals.at_most(measured.instructions, SAMPLED, ""),
                    _ => {}
                }
            }
            goals.add_to(sum);
            let name = if candidate == Candidate::Ours { "otel-sqlx" } else { "sqlx-otel 0.5" };
            table.row(vec![
                format!("{name}: {}", label(variant)),
                whole(measured.instructions),
                count(measured.native.allocations),
                whole(measured.native.nanoseconds),
                goals.cell(),
            ]);
        }
    }
    table.print();
    println!();
}

fn label(variant: Variant) -> &'static str {
    match variant {
        Variant::Unsampled => "not sampled",
        Variant::Declared => "not sampled, declared",
        Variant::Sampled => "sampled",
        Variant::Nothing => "nothing installed",
    }
}
