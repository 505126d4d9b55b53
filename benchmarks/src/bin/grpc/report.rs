//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::atomics;
use benchmarks::cells::{COLUMNS, Key, Measured, Results, measure};
use benchmarks::cli::Options;
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Goals, Table};

use crate::cell::{Candidate, Side, Variant};
use crate::echo::STREAMED;

/// The number of rounds of native measurements. Each round covers all cells, so that a temporary load affects all of
/// them.
const ROUNDS: usize = 3;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let counts = usize::from(options.counts()?);
    if counts > 0 {
        atomics::check_tools()?;
    }
    let default = process::build_default("grpc")?;
    let wanted = |key: &Key| key.candidate == "bare" || options.wants(&key.label());
    let keys: Vec<Key> = keys().into_iter().filter(wanted).collect();
    let mut results = measure(&keys, &default, |_| ROUNDS, |_| counts)?;
    results.count_atomics(&default)?;
    document.title("gRPC: cost per call");
    for &side in Side::ALL {
        document.section(title(side));
        for &variant in Variant::ALL {
            add_variant(&results, side, variant, document);
        }
    }
    Ok(())
}

fn key(default_build: bool, side: Side, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build, side: side.name(), candidate: candidate.name(), variant: variant.name() }
}

fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    for &side in Side::ALL {
        for &variant in Variant::ALL {
            // Only our crates read declarations.
            let is_in = |candidate: &&Candidate| {
                !variant.is_declared() || matches!(candidate, Candidate::Bare | Candidate::Ours)
            };
            for &candidate in Candidate::ALL.iter().filter(is_in) {
                keys.push(key(false, side, candidate, variant));
                if matches!(candidate, Candidate::Bare | Candidate::Ours) {
                    keys.push(key(true, side, candidate, variant));
                }
            }
        }
    }
    keys
}

fn title(side: Side) -> &'static str {
    match side {
        Side::Server => "Server: cost per unary call over the bare service",
        Side::Client => "Client: cost per unary call over the bare channel",
        Side::ServerStream => {
            "Server: cost per message of a stream over the bare service (a call of 100 messages ÷ 100)"
        }
        Side::ClientStream => {
            "Client: cost per message of a stream over the bare channel (a call of 100 messages ÷ 100)"
        }
    }
}

fn add_variant(results: &Results, side: Side, variant: Variant, document: &mut Document) {
    document.subsection(match variant {
        Variant::Sampled => "Sampled parent",
        Variant::Unsampled => "Unsampled parent",
        Variant::DeclaredSampled => "Sampled parent, sampler and propagator declared",
        Variant::Declared => "Unsampled parent, sampler and propagator declared",
        Variant::Nothing => "Nothing installed",
    });
    let mut table = Table::new(&[COLUMNS[0], COLUMNS[1], "atomics (shared)", COLUMNS[2]]);
    let others = Candidate::ALL.iter().filter(|candidate| **candidate != Candidate::Bare);
    let rows = others.map(|&candidate| (false, candidate)).chain([(true, Candidate::Ours)]);
    for (default_build, candidate) in rows {
        let at = key(default_build, side, candidate, variant);
        if !results.has(at) {
            continue;
        }
        let cost = over_bare(results, at, side, variant);
        let goals = match candidate {
            Candidate::Ours if !default_build => goals(results, side, variant, cost),
            _ => Goals::default(),
        };
        let mut cells = cost.cells();
        cells.insert(2, cost.atomics.cell().into());
        table.row(name(candidate, default_build), cells, goals);
    }
    document.table(table);
    let bare = results.get(key(false, side, Candidate::Bare, variant));
    document.note(bare.describe("The bare call"));
    let ours = over_bare(results, key(false, side, Candidate::Ours, variant), side, variant).instructions;
    let times = best_peer(results, side, variant) / ours;
    if !times.is_nan() {
        document.note(format!(
            "The best peer takes {times:.1} times the instructions of otel-grpc with `bound-metrics`."
        ));
    }
}

/// Returns the difference to the bare cell of the same build, per call or per message of a stream.
fn over_bare(results: &Results, at: Key, side: Side, variant: Variant) -> Measured {
    let bare = key(at.default_build, side, Candidate::Bare, variant);
    let cost = results.over(at, bare);
    if side.streams() { cost.divided(STREAMED as f64) } else { cost }
}

fn name(candidate: Candidate, default_build: bool) -> &'static str {
    match candidate {
        Candidate::Bare => "bare",
        Candidate::TonicTracing => "tonic-tracing-opentelemetry 0.42 (traces only)",
        Candidate::TowerOtel => "tower-otel 0.12 (traces only)",
        Candidate::Ours if default_build => "**otel-grpc**, default build (unbound metrics)",
        Candidate::Ours => "**otel-grpc**, `bound-metrics`",
    }
}

/// Returns the instructions of the best peer over the bare call; NaN if a peer was not measured.
fn best_peer(results: &Results, side: Side, variant: Variant) -> f64 {
    let peers = [Candidate::TonicTracing, Candidate::TowerOtel];
    let cost =
        |candidate| over_bare(results, key(false, side, candidate, variant), side, variant).instructions;
    let costs = peers.map(cost);
    if costs.iter().any(|cost| cost.is_nan()) { f64::NAN } else { costs.into_iter().fold(f64::NAN, f64::min) }
}

/// Checks the goals of our layers.
fn goals(results: &Results, side: Side, variant: Variant, ours: Measured) -> Goals {
    let mut goals = Goals::default();
    if side.streams() {
        goals.at_most(ours.native.nanoseconds, 100.0, " ns");
        return goals;
    }
    let (most, share, allocations) = match (side, variant) {
        (Side::Server, Variant::Sampled) => (7_400.0, Some(3.0), 5.0),
        (Side::Server, Variant::Unsampled) => (4_300.0, Some(5.0), 2.0),
        (Side::Server, Variant::Declared) => (3_500.0, None, 2.0),
        (Side::Client, Variant::Sampled) => (6_500.0, Some(3.0), 4.0),
        (Side::Client, Variant::Unsampled) => (4_500.0, Some(5.0), 2.0),
        (Side::Client, Variant::Declared) => (3_600.0, None, 1.0),
        _ => return goals,
    };
    goals.at_most(ours.instructions, most, "");
    if let Some(share) = share {
        let best = best_peer(results, side, variant);
        goals.at_most(ours.instructions, (best / share).floor(), &format!(" (best peer ÷ {share})"));
    }
    goals.at_most(ours.native.allocations, allocations, " allocations");
    goals
}
