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

/// The goal: the instructions of a layer without sampling, over the same pattern without telemetry.
const LAYER: f64 = 500.0;

/// Measures all cells and prints the table.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let wanted = |key: &Key| {
        let is_base = [Candidate::Bare.name(), Candidate::Floor.name()].contains(&key.candidate);
        options.only.is_empty() || is_base || options.only.iter().any(|text| key.label().contains(text))
    };
    let keys: Vec<Key> = keys().filter(wanted).collect();
    let counts = |_: &Key| if valgrind.is_some() { COUNTS } else { 0 };
    // No cell is of the build without default features.
    let results = measure(&keys, Path::new(""), |_| ROUNDS, counts)?;
    let mut goals = (0, 0);
    println!("# Resilience: cost of a layer for a call that succeeds at once\n");
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
    println!("## {}\n", side.name());
    let mut table = Table::new(&["", "instructions", "over the floor", "allocations", "ns", "goals"]);
    let cost = |candidate, variant| {
        results.get(key(side, candidate, variant)).over(results.get(key(side, Candidate::Bare, variant)))
    };
    let floor = cost(Candidate::Floor, Variant::Unsampled).instructions;
    for &candidate in Candidate::of(side) {
        for &variant in Variant::ALL {
            if candidate == Candidate::Bare || !results.has(key(side, candidate, variant)) {
                continue;
            }
            let measured = cost(candidate, variant);
            let mut goals = Goals::default();
            if candidate == Candidate::Ours && variant == Variant::Unsampled {
                goals.at_most(measured.instructions, floor + LAYER, " (the floor + 500)");
            }
            goals.add_to(sum);
            table.row(vec![
                format!("{}: {}", label(side, candidate), variant_label(variant)),
                whole(measured.instructions),
                whole(measured.instructions - floor),
                count(measured.native.allocations),
                whole(measured.native.nanoseconds),
                goals.cell(),
            ]);
        }
    }
    table.print();
    println!();
}

fn label(side: Side, candidate: Candidate) -> &'static str {
    match (side, candidate) {
        (Side::Retry, Candidate::Floor) => "tower's `Retry` and `TpsBudget`",
        (Side::Deadline, Candidate::Floor) => "tower's `Timeout`, the header by hand",
        (Side::Server, Candidate::Floor) => "a `Timeout` of tower by the header, parsed by hand",
        (Side::Breaker, Candidate::Floor) => "tower-resilience's breaker around tower's `Timeout`",
        (Side::Hedge, Candidate::Floor) => "tower's `Hedge`",
        (_, Candidate::Floor) => "tower-resilience's",
        (Side::Retry, Candidate::Ours) => "`RetryLayer`",
        (_, Candidate::Span) => "`RetryLayer` with a span",
        (Side::Deadline, Candidate::Ours) => "`DeadlineLayer`",
        (Side::Server, Candidate::Ours) => "`DeadlineServerLayer`",
        (_, Candidate::Unused) => "the layer without a deadline",
        (Side::Breaker, _) => "`CircuitBreakerLayer`",
        (Side::Bulkhead, _) => "`BulkheadLayer`",
        (Side::RateLimit, _) => "`RateLimitLayer`",
        (Side::Hedge, _) => "`HedgeLayer`",
        (_, Candidate::Bare) => "the service alone",
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
