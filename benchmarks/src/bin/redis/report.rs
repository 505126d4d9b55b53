//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cells::{COLUMNS, Key, Results, measure_wanted};
use benchmarks::cli::Options;
use benchmarks::messages::{Candidate, Variant};
use benchmarks::process::Failure;
use benchmarks::results::Document;
use benchmarks::table::{Goals, Table};

use crate::cell::Side;

/// The goals: the instructions of a command, over redis alone.
const UNSAMPLED: f64 = 2_000.0;
const SAMPLED: f64 = 6_000.0;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let results = measure_wanted(options, keys(), &[Candidate::Bare.name()])?;
    document.title("Redis: cost over a connection that answers from memory");
    for &side in Side::ALL {
        add_side(&results, side, document);
    }
    Ok(())
}

fn keys() -> impl Iterator<Item = Key> {
    Side::ALL.iter().flat_map(|&side| {
        let candidates = Candidate::ALL.iter().filter(move |&&candidate| side.has(candidate));
        candidates.flat_map(move |&candidate| {
            let has = move |variant: &&Variant| candidate != Candidate::Floor || variant.has_floor();
            Variant::ALL.iter().filter(has).map(move |&variant| key(side, candidate, variant))
        })
    })
}

fn key(side: Side, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build: false, side: side.name(), candidate: candidate.name(), variant: variant.name() }
}

fn add_side(results: &Results, side: Side, document: &mut Document) {
    document.section(label(side));
    let mut table = Table::new(&COLUMNS);
    for &candidate in Candidate::ALL {
        for &variant in Variant::ALL {
            let this = key(side, candidate, variant);
            if !results.has(this) {
                continue;
            }
            let measured = match candidate {
                Candidate::Bare => results.get(this),
                _ => results.over(this, key(side, Candidate::Bare, variant)),
            };
            let mut goals = Goals::default();
            if candidate == Candidate::Ours && matches!(side, Side::Command | Side::Blocking) {
                match variant {
                    Variant::Unsampled => goals.at_most(measured.instructions, UNSAMPLED, ""),
                    Variant::Sampled => goals.at_most(measured.instructions, SAMPLED, ""),
                    _ => {}
                }
            }
            table.row(
                format!("{}: {}", candidate_label(candidate), variant.label()),
                measured.cells(),
                goals,
            );
        }
    }
    document.table(table);
}

fn label(side: Side) -> &'static str {
    match side {
        Side::Command => "`SET` on an asynchronous connection",
        Side::Template => "`GET` with a template of its key",
        Side::Pipeline => "a pipeline of ten `SET`",
        Side::Blocking => "`SET` on a blocking connection",
    }
}

fn candidate_label(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Bare => "redis alone",
        Candidate::Floor => "floor, over redis alone",
        Candidate::Ours => "otel-redis, over redis alone",
    }
}
