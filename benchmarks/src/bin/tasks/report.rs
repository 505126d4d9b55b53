//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cells::{COLUMNS, Key, Results, measure_wanted};
use benchmarks::cli::Options;
use benchmarks::messages::Variant;
use benchmarks::process::Failure;
use benchmarks::results::Document;
use benchmarks::table::{Goals, Table};

use crate::cell::{Candidate, Side};

/// The goals: instructions over tokio's spawn, over tokio's channel without sampling, and the largest ratio to a span by hand
/// without sampling.
const SPAWN: f64 = 700.0;
const ITEM: f64 = 300.0;
const FUNCTION: f64 = 1.2;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let results = measure_wanted(
        options,
        keys(),
        &[Candidate::Bare, Candidate::Timed, Candidate::Floor].map(Candidate::name),
    )?;
    document.title("Tasks: cost of a spawn, an item of a channel, a function");
    for &side in Side::ALL {
        add_side(&results, side, document);
    }
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

fn add_side(results: &Results, side: Side, document: &mut Document) {
    document.section(heading(side));
    let mut table = Table::new(&COLUMNS);
    for &variant in Variant::ALL {
        let cost =
            |candidate| results.over(key(side, candidate, variant), key(side, Candidate::Bare, variant));
        for &candidate in Candidate::of(side) {
            if candidate == Candidate::Bare || !results.has(key(side, candidate, variant)) {
                continue;
            }
            let measured = cost(candidate);
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
            table.row(format!("{}: {}", variant.label(), label(side, candidate)), measured.cells(), goals);
        }
    }
    document.table(table);
    let bare = results.get(key(side, Candidate::Bare, Variant::Unsampled));
    document.note(bare.describe(label(side, Candidate::Bare)));
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
