//! Runs each cell in a separate process and prints the table with the goals.

use benchmarks::cells::{Key, Results, measure_wanted};
use benchmarks::cli::Options;
use benchmarks::messages::Variant;
use benchmarks::process::Failure;
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

use crate::cell::{Candidate, Side};

/// The goal: the instructions of a layer without sampling, over the same pattern without telemetry.
const LAYER: f64 = 500.0;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let results = measure_wanted(options, keys(), &[Candidate::Bare, Candidate::Floor].map(Candidate::name))?;
    document.title("Resilience: cost of a layer for a call that succeeds at once");
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
    document.section(side.name());
    let mut table = Table::new(&["instructions", "over the floor", "allocations", "ns (range)"]);
    let cost =
        |candidate, variant| results.over(key(side, candidate, variant), key(side, Candidate::Bare, variant));
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
            let mut cells = measured.cells();
            cells.insert(1, Cell::whole(measured.instructions - floor));
            table.row(format!("{}: {}", label(side, candidate), variant.label()), cells, goals);
        }
    }
    document.table(table);
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
