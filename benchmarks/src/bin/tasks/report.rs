//! Runs each cell in a separate process and prints the tables with the goals.

use std::path::Path;

use benchmarks::cells::{Key, Measured, Results, facts, measure};
use benchmarks::cli::Options;
use benchmarks::messages::Variant;
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, count, whole};

use crate::cell::{Candidate, Side};

/// The number of rounds of native measurements, alternating between the candidates.
const ROUNDS: usize = 3;

/// The number of instruction counts of a cell.
const COUNTS: usize = 3;

/// The goals: instructions over tokio's spawn, over tokio's channel without sampling, and the largest ratio to a span by hand
/// without sampling.
const SPAWN: f64 = 700.0;
const ITEM: f64 = 300.0;
const FUNCTION: f64 = 1.2;

/// Measures all cells and prints the tables.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let wanted = |key: &Key| {
        let bases = [Candidate::Bare, Candidate::Timed, Candidate::Floor].map(Candidate::name);
        let is_base = bases.contains(&key.candidate);
        options.only.is_empty() || is_base || options.only.iter().any(|text| key.label().contains(text))
    };
    let keys: Vec<Key> = keys().filter(wanted).collect();
    let counts = |_: &Key| if valgrind.is_some() { COUNTS } else { 0 };
    // No cell is of the build without default features.
    let results = measure(&keys, Path::new(""), |_| ROUNDS, counts)?;
    let mut goals = (0, 0);
    println!("# Tasks: cost of a spawn, an item of a channel, a function\n");
    println!("{}\n", facts(valgrind.as_deref()));
    for &side in Side::ALL {
        print_side(&results, side, &mut goals);
    }
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
    Ok(())
}

fn keys() -> impl Iterator<Item = Key> {
    let cells = Side::ALL.iter().flat_map(|&side| {
        let candidates = Candidate::of(side).iter();
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
    println!("## {}\n", heading(side));
    let mut table = Table::new(&["", "instructions", "allocations", "ns", "goals"]);
    for &variant in Variant::ALL {
        let cost = |candidate| {
            results.get(key(side, candidate, variant)).over(results.get(key(side, Candidate::Bare, variant)))
        };
        for &candidate in Candidate::of(side) {
            if candidate == Candidate::Bare || !results.has(key(side, candidate, variant)) {
                continue;
            }
            let measured: Measured = cost(candidate);
            let mut goals = Goals::default();
            let instructions = measured.instructions;
            match (side, candidate, variant) {
                (Side::Spawn, Candidate::Ours, _) => goals.at_most(instructions, SPAWN, ""),
                (Side::Item, Candidate::Ours, Variant::Unsampled) => goals.at_most(instructions, ITEM, ""),
                (Side::Function, Candidate::Traced, Variant::Unsampled) => {
                    let bound = cost(Candidate::Floor).instructions * FUNCTION;
                    goals.at_most(instructions, bound, " (1.2 × the span by hand)");
                }
                _ => {}
            }
            goals.add_to(sum);
            table.row(vec![
                format!("{}: {}", variant_label(variant), label(side, candidate)),
                whole(instructions),
                count(measured.native.allocations),
                whole(measured.native.nanoseconds),
                goals.cell(),
            ]);
        }
    }
    table.print();
    let bare = results.get(key(side, Candidate::Bare, Variant::Unsampled));
    println!(
        "{}: {} instructions, {} allocations, {} ns.\n",
        label(side, Candidate::Bare),
        whole(bare.instructions),
        count(bare.native.allocations),
        whole(bare.native.nanoseconds)
    );
}

fn heading(side: Side) -> &'static str {
    match side {
        Side::Spawn => "A task and its end, over tokio's `spawn`",
        Side::Item => "An item sent and received, over tokio's `mpsc`",
        Side::Process => "An item sent, received and processed, over tokio's `mpsc` and the handler",
        Side::Function => "A function, over the function alone",
    }
}

fn label(side: Side, candidate: Candidate) -> &'static str {
    match (side, candidate) {
        (Side::Spawn, Candidate::Ours) => "`spawn`",
        (Side::Spawn, Candidate::Span) => "`spawn_with_span`",
        (Side::Spawn, _) => "`tokio::spawn`",
        (Side::Item, Candidate::Timed) => "two clocks and a bound histogram, by hand",
        (Side::Item, Candidate::Floor) => "floor: context, bound metrics, no drop handling",
        (Side::Item, Candidate::Ours) => "`sync::mpsc`, metrics included",
        (Side::Process, Candidate::Ours) => "`Receiver::process`, metrics included",
        (Side::Item | Side::Process, _) => "tokio's `mpsc`",
        (Side::Function, Candidate::Floor) => "a span by hand: tracer, context, attach, end",
        (Side::Function, Candidate::Traced) => "`#[traced]`",
        (Side::Function, Candidate::Bare) => "the function alone",
        (Side::Function, _) => "`in_span_sync`",
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
