//! Runs each cell in a separate process and prints the table with the goals.

use benchmarks::cells::{COLUMNS, Key, Results, measure_wanted};
use benchmarks::cli::Options;
use benchmarks::messages::Variant;
use benchmarks::process::Failure;
use benchmarks::results::Document;
use benchmarks::table::{Goals, Table};

use crate::cell::{Candidate, Side};

/// The goals: the instructions of a query on a connection, over sqlx.
const UNSAMPLED: f64 = 2500.0;
const SAMPLED: f64 = 7000.0;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let results = measure_wanted(options, keys(), &[Candidate::Bare.name()])?;
    document.title("Databases: cost of a query on SQLite in memory, over sqlx");
    for &side in Side::ALL {
        add_side(&results, side, document);
    }
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

fn add_side(results: &Results, side: Side, document: &mut Document) {
    document.section(side.name());
    let mut table = Table::new(&COLUMNS);
    let bare = key(side, Candidate::Bare, Variant::Nothing);
    for &candidate in &[Candidate::Peer, Candidate::Ours] {
        for &variant in Variant::ALL {
            if !results.has(key(side, candidate, variant)) {
                continue;
            }
            let measured = results.over(key(side, candidate, variant), bare);
            let mut goals = Goals::default();
            if candidate == Candidate::Ours && side == Side::Connection {
                match variant {
                    Variant::Unsampled => goals.at_most(measured.instructions, UNSAMPLED, ""),
                    Variant::Sampled => goals.at_most(measured.instructions, SAMPLED, ""),
                    _ => {}
                }
            }
            let name = if candidate == Candidate::Ours { "otel-sqlx" } else { "sqlx-otel 0.5" };
            table.row(format!("{name}: {}", variant.label()), measured.cells(), goals);
        }
    }
    document.table(table);
    document.note(results.get(bare).describe("sqlx itself"));
}
