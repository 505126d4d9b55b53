//! Runs each cell in a separate process and prints the tables with the goals.

use std::path::Path;

use benchmarks::cells::{Key, Results, facts, measure};
use benchmarks::cli::Options;
use benchmarks::messages::{Candidate, Variant};
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, count, whole};

use crate::cell::Side;

/// The number of rounds of native measurements, alternating between the candidates.
const ROUNDS: usize = 3;

/// The number of instruction counts of a cell.
const COUNTS: usize = 3;

/// The goals: the instructions of a command, over redis alone.
const UNSAMPLED: f64 = 2_000.0;
const SAMPLED: f64 = 6_000.0;

/// Measures all cells and prints the tables.
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
    println!("# Redis: cost over a connection that answers from memory\n");
    println!("{}\n", facts(valgrind.as_deref()));
    for &side in Side::ALL {
        print_side(&results, side, &mut goals);
    }
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
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

fn print_side(results: &Results, side: Side, sum: &mut (usize, usize)) {
    println!("## {}\n", label(side));
    let mut table = Table::new(&["", "instructions", "allocations", "ns", "goals"]);
    for &candidate in Candidate::ALL {
        for &variant in Variant::ALL {
            let this = key(side, candidate, variant);
            if !results.has(this) {
                continue;
            }
            let measured = match candidate {
                Candidate::Bare => results.get(this),
                _ => results.get(this).over(results.get(key(side, Candidate::Bare, variant))),
            };
            let mut goals = Goals::default();
            if candidate == Candidate::Ours && matches!(side, Side::Command | Side::Blocking) {
                match variant {
                    Variant::Unsampled => goals.at_most(measured.instructions, UNSAMPLED, ""),
                    Variant::Sampled => goals.at_most(measured.instructions, SAMPLED, ""),
                    _ => {}
                }
            }
            goals.add_to(sum);
            table.row(vec![
                format!("{}: {}", candidate_label(candidate), variant_label(variant)),
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

fn variant_label(variant: Variant) -> &'static str {
    match variant {
        Variant::Unsampled => "not sampled",
        Variant::Declared => "not sampled, declared",
        Variant::Sampled => "sampled",
        Variant::Nothing => "nothing installed",
    }
}
