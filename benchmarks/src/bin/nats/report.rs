//! Runs each cell in a separate process and prints the tables with the goals.

use std::path::Path;

use benchmarks::cells::{Key, Results, facts, measure};
use benchmarks::cli::Options;
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, count, whole};

use crate::cell::{Candidate, Side, Variant};
use crate::run::URL;

/// The number of rounds of native measurements, alternating between the candidates.
const ROUNDS: usize = 3;

/// The number of instruction counts of a cell.
const COUNTS: usize = 3;

/// The goals: the largest ratio to the floor, and the most instructions if nothing is installed.
const SAMPLED: f64 = 1.0;
const UNSAMPLED: f64 = 0.75;
const NOTHING: f64 = 300.0;

/// Measures all cells and prints the tables.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    if std::env::var_os(URL).is_none() {
        return Err(format!("{URL} is not set (`cargo xtask services up nats`)").into());
    }
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let wanted = |key: &Key| {
        options.only.is_empty()
            || key.candidate == Candidate::Bare.name()
            || options.only.iter().any(|text| key.label().contains(text))
    };
    let keys: Vec<Key> = keys().into_iter().filter(wanted).collect();
    let counts = |_: &Key| if valgrind.is_some() { COUNTS } else { 0 };
    // No cell is of the build without default features.
    let results = measure(&keys, Path::new(""), |_| ROUNDS, counts)?;
    let mut goals = (0, 0);
    println!("# NATS: cost per message\n");
    println!("{}\n", facts(valgrind.as_deref()));
    for &side in Side::ALL {
        print_side(&results, side, &mut goals);
    }
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
    Ok(())
}

fn key(side: Side, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build: false, side: side.name(), candidate: candidate.name(), variant: variant.name() }
}

fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    for &side in Side::ALL {
        for &variant in Variant::ALL {
            let has = |candidate: &Candidate| (*candidate, variant) != (Candidate::Floor, Variant::Nothing);
            keys.extend(Candidate::ALL.iter().copied().filter(has).map(|of| key(side, of, variant)));
        }
    }
    keys
}

fn print_side(results: &Results, side: Side, sum: &mut (usize, usize)) {
    println!(
        "## {}\n",
        match side {
            Side::Publish => "`Client::publish`, over async-nats' with one `traceparent` written by hand",
            Side::Request => "`Client::request`, over async-nats' with one `traceparent` written by hand",
            Side::Process => "`Subscriber::next` and `process`, over async-nats' `next`",
        }
    );
    let mut table = Table::new(&["", "instructions", "allocations", "ns", "goals"]);
    for &variant in Variant::ALL {
        let over = |candidate| {
            let bare = results.get(key(side, Candidate::Bare, variant));
            results.get(key(side, candidate, variant)).over(bare)
        };
        for (candidate, name) in [
            (Candidate::Floor, "floor: SDK propagator, span, attributes, bound metrics"),
            (Candidate::Ours, "otel-nats, `bound-metrics`"),
        ] {
            if !results.has(key(side, candidate, variant)) {
                continue;
            }
            let cost = over(candidate);
            let mut goals = Goals::default();
            if candidate == Candidate::Ours {
                let floor = over(Candidate::Floor).instructions;
                let (most, note) = match variant {
                    Variant::Sampled => (floor * SAMPLED, " (1.0 × the floor)"),
                    Variant::Unsampled => (floor * UNSAMPLED, " (0.75 × the floor)"),
                    Variant::Nothing => (NOTHING, ""),
                };
                goals.at_most(cost.instructions, most, note);
            }
            goals.add_to(sum);
            table.row(vec![
                format!("{}: {name}", variant_name(variant)),
                whole(cost.instructions),
                count(cost.native.allocations),
                whole(cost.native.nanoseconds),
                goals.cell(),
            ]);
        }
    }
    table.print();
    let bare = results.get(key(side, Candidate::Bare, Variant::Sampled));
    println!(
        "async-nats itself: {} instructions, {} allocations, {} ns.\n",
        whole(bare.instructions),
        count(bare.native.allocations),
        whole(bare.native.nanoseconds)
    );
}

fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Unsampled => "not sampled",
        Variant::Sampled => "sampled",
        Variant::Nothing => "nothing installed",
    }
}
