//! The tables and goals of growth.

use std::collections::HashMap;

use benchmarks::cells::{COLUMNS, Key, Measured, Results};
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

use super::Case;
use crate::cell::Candidate;

/// The side of these cells.
pub(crate) const GROWTH: &str = "growth";

const CANDIDATES: [Candidate; 2] = [Candidate::Bare, Candidate::Ours];

fn key(candidate: Candidate, case: Case) -> Key {
    Key { default_build: false, side: GROWTH, candidate: candidate.name(), variant: case.name() }
}

/// Returns the cells whose instructions are counted.
pub(crate) fn keys() -> impl Iterator<Item = Key> {
    let cases = Case::ALL.iter().filter(|case| !case.is_in_flight());
    cases.flat_map(|&case| CANDIDATES.map(|candidate| key(candidate, case)))
}

/// The bytes of a response in flight, over the bare service.
#[derive(Debug)]
pub(crate) struct InFlight(HashMap<&'static str, f64>);

/// Measures the memory of responses in flight.
pub(crate) fn in_flight(wanted: impl Fn(&Key) -> bool) -> Result<InFlight, Failure> {
    let binary = std::env::current_exe()?;
    let mut sizes = HashMap::new();
    for &case in Case::ALL.iter().filter(|case| case.is_in_flight() && wanted(&key(Candidate::Ours, **case)))
    {
        let mut bytes = [0.0; 2];
        for (bytes, candidate) in bytes.iter_mut().zip(CANDIDATES) {
            let [cell, side, candidate, case] = key(candidate, case).arguments();
            let printed = process::numbers(&binary, &[cell, side, candidate, case, "native"])?;
            *bytes = *printed.get("bytes").ok_or("the cell did not print its bytes")?;
        }
        sizes.insert(case.name(), bytes[1] - bytes[0]);
    }
    Ok(InFlight(sizes))
}

/// Adds the tables.
pub(crate) fn add(results: &Results, in_flight: &InFlight, document: &mut Document) {
    let over = |case| results.over(key(Candidate::Ours, case), key(Candidate::Bare, case));
    document.section("Growth: `bound-metrics`, over the bare service with the same routes");
    let mut table = Table::new(&COLUMNS);
    let mut row = |title: &str, measured: Measured, goals: Goals| {
        if !measured.native.allocations.is_nan() {
            table.row(title, measured.cells(), goals);
        }
    };
    let none = Goals::default;
    row("unsampled, 10 routes in turn", over(Case::Routes10), none());
    row("1,000 routes", over(Case::Routes1000), none());
    row("10,000 routes (`with_max_cached_routes`)", over(Case::Routes10000), none());

    row("unsampled, 20 headers more", over(Case::Headers20), none());
    row("100 headers more", over(Case::Headers100), none());
    row("a client, unsampled, 1 host", over(Case::Hosts1), none());
    row("100 hosts in turn", over(Case::Hosts100), none());
    row("1,000 hosts", over(Case::Hosts1000), none());

    let (first, last) = (over(Case::SeriesFirst), over(Case::SeriesLast));
    row("unsampled, the first of 33 status codes of a route", first, none());
    let mut goals = Goals::default();
    goals.at_most(last.instructions, (first.instructions * 1.2).floor(), " (the first × 1.2)");
    row("the 33rd", last, goals);

    let more = over(Case::TraceState2).over(over(Case::TraceState0));
    let mut goals = Goals::default();
    goals.at_most(more.instructions, 4_000.0, "");
    goals.at_most(more.native.allocations, 11.0, " allocations");
    row("sampled, a `tracestate` of two members more", more, goals);

    let members = [Case::Baggage0, Case::Baggage1, Case::Baggage2, Case::Baggage4].map(over);
    row("sampled, the first baggage member more", members[1].over(members[0]), none());
    row("the second", members[2].over(members[1]), none());
    row("the third and the fourth together", members[3].over(members[2]), none());
    document.table(table);

    document.section("Each of 100,000 responses in flight, over the bare service");
    let mut table = Table::new(&["requested bytes"]);
    for (case, title, most) in [
        (Case::InFlightSampled, "sampled", 1_200.0),
        (Case::InFlightUnsampled, "unsampled", 256.0),
        (Case::InFlightDeclared, "unsampled, sampler and propagator declared", 256.0),
    ] {
        let Some(&bytes) = in_flight.0.get(case.name()) else { continue };
        let mut goals = Goals::default();
        goals.at_most(bytes, most, "");
        table.row(title, vec![Cell::whole(bytes)], goals);
    }
    document.table(table);
}
