//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::atomics;
use benchmarks::cells::{COLUMNS, Key, Measured, Results, measure};
use benchmarks::cli::Options;
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

use crate::cell::{Candidate, Side, Variant};
use crate::growth::report::{GROWTH, InFlight};
use crate::{contention, growth, propagation};

/// The number of rounds of native measurements. Each round covers all cells, so that a temporary load affects all of
/// them.
const ROUNDS: usize = 3;

/// The number of rounds for propagation, whose goals are ratios of nanoseconds.
const PROPAGATION_ROUNDS: usize = 9;

impl Candidate {
    fn is_peer(self) -> bool {
        matches!(self, Self::TowerOtel | Self::InstrumentationTower | Self::AxumTracing | Self::Oxtel)
    }

    /// Returns `true` if the tables have this cell.
    fn is_in(self, side: Side, variant: Variant) -> bool {
        match self {
            // Only our crates read declarations.
            _ if self.is_peer() && variant.is_declared() => false,
            Self::Floor => !variant.is_declared(),
            Self::InstrumentationTower => side == Side::Server,
            Self::AxumTracing => side == Side::Server && variant != Variant::MetricsOnly,
            // It knows neither baggage nor the peer address.
            Self::Oxtel => match variant {
                Variant::Sampled | Variant::Unsampled | Variant::Nothing => true,
                Variant::TraceState => side == Side::Server,
                _ => false,
            },
            // A client is a plain tower service, where the no-op layer costs nothing.
            Self::PassThrough => side == Side::Server,
            _ => true,
        }
    }
}

impl Variant {
    /// Returns `true` if the side has this variant; a client does not know the peer address.
    fn is_on(self, side: Side) -> bool {
        side == Side::Server || self != Self::Peer
    }
}

/// The side of cells without a service.
const PROPAGATION: &str = "propagation";

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let counts = usize::from(options.counts()?);
    if counts > 0 {
        atomics::check_tools()?;
    }
    let default = process::build_default("http")?;
    let is_wanted = |key: &Key| options.only.is_empty() || options.only.iter().any(|text| wanted(*key, text));
    let keys: Vec<Key> = keys().into_iter().filter(is_wanted).collect();
    let rounds = |key: &Key| if key.side == PROPAGATION { PROPAGATION_ROUNDS } else { ROUNDS };
    let mut results = measure(&keys, &default, rounds, |_| counts)?;
    results.count_atomics(&default)?;
    let in_flight = growth::report::in_flight(is_wanted)?;
    add(&results, &in_flight, document);
    contention::add(options, document)?;
    Ok(())
}

/// Returns `true` if the cell is measured. The bases of the differences are always measured.
fn wanted(key: Key, text: &str) -> bool {
    let is_base = matches!(key.candidate, "bare" | "pass-through");
    key.label().contains(text) || is_base && (key.side != GROWTH || text.contains(GROWTH))
}

fn key(default_build: bool, side: Side, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build, side: side.name(), candidate: candidate.name(), variant: variant.name() }
}

fn propagation_key(candidate: &'static str, variant: &'static str) -> Key {
    Key { default_build: false, side: PROPAGATION, candidate, variant }
}

fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    for &side in Side::ALL {
        for &variant in Variant::ALL.iter().filter(|variant| variant.is_on(side)) {
            let candidates = Candidate::ALL.iter().filter(|candidate| candidate.is_in(side, variant));
            for &candidate in candidates {
                keys.push(key(false, side, candidate, variant));
                if matches!(candidate, Candidate::Bare | Candidate::PassThrough | Candidate::Ours) {
                    keys.push(key(true, side, candidate, variant));
                }
            }
        }
    }
    for (variant, _, _) in propagation::VARIANTS {
        keys.extend(propagation::CANDIDATES.map(|candidate| propagation_key(candidate, variant)));
    }
    keys.extend(growth::report::keys());
    keys
}

fn add(results: &Results, in_flight: &InFlight, document: &mut Document) {
    document.title("HTTP: cost per request");
    for &side in Side::ALL {
        document.section(match side {
            Side::Server => "Server layers: cost per request over the bare axum service",
            Side::Client => "Client layers: cost per request over the bare tower service",
        });
        for &variant in Variant::ALL.iter().filter(|variant| variant.is_on(side)) {
            add_variant(results, side, variant, document);
        }
    }
    growth::report::add(results, in_flight, document);
    add_propagation(results, document);
}

fn title(side: Side, variant: Variant) -> &'static str {
    match (side, variant) {
        (Side::Server, Variant::Sampled) => "`traceparent` only, sampled parent",
        (Side::Server, Variant::Unsampled) => "`traceparent` only, unsampled parent",
        (Side::Client, Variant::Sampled) => "Sampled parent",
        (Side::Client, Variant::Unsampled) => "Unsampled parent",
        (_, Variant::DeclaredSampled) => "Sampled parent, sampler and propagator declared",
        (_, Variant::Declared) => "Unsampled parent, sampler and propagator declared",
        (_, Variant::TraceState) => "With `tracestate`, sampled",
        (_, Variant::Baggage) => "With `baggage` (two members), sampled",
        (_, Variant::Peer) => "With the peer address (`ConnectInfo`), sampled",
        (_, Variant::MetricsOnly) => "Metrics only: no tracer provider",
        (_, Variant::Forwarding) => "No SDK, only a propagator: context is forwarded",
        (_, Variant::Nothing) => "Nothing installed",
    }
}

fn add_variant(results: &Results, side: Side, variant: Variant, document: &mut Document) {
    document.subsection(title(side, variant));
    let mut columns = vec![COLUMNS[0], COLUMNS[1], "atomics (shared)", COLUMNS[2]];
    if side == Side::Server {
        columns.extend(["over the no-op layer: instructions", "allocations"]);
    }
    let mut table = Table::new(&columns);
    let others = Candidate::ALL.iter().filter(|candidate| **candidate != Candidate::Bare);
    let rows = others.map(|&candidate| (false, candidate)).chain([(true, Candidate::Ours)]);
    for (default_build, candidate) in rows {
        let at = |candidate| key(default_build, side, candidate, variant);
        if !results.has(at(candidate)) {
            continue;
        }
        let over = |base| results.over(at(candidate), at(base));
        let bare = over(Candidate::Bare);
        let mut cells = bare.cells();
        cells.insert(2, bare.atomics.cell().into());
        if side == Side::Server {
            let over = over(Candidate::PassThrough);
            cells.extend([Cell::whole(over.instructions), Cell::count(over.native.allocations)]);
        }
        let mut goals = match candidate {
            Candidate::Ours => goals(results, side, variant, over(base(side)), default_build),
            _ => Goals::default(),
        };
        if let (Candidate::Ours, false, Some(most)) = (candidate, default_build, most_atomics(variant)) {
            goals.at_most(bare.atomics.shared, most, " shared atomics");
        }
        let name =
            if default_build { "**otel-http**, default build (unbound metrics)" } else { name(candidate) };
        table.row(name, cells, goals);
    }
    document.table(table);
    let bare = results.get(key(false, side, Candidate::Bare, variant));
    document.note(bare.describe("The bare service"));
    if let Some((peer, cost)) = best_peer(results, side, variant) {
        let ours = |default_build| {
            let at = |candidate| key(default_build, side, candidate, variant);
            results.over(at(Candidate::Ours), at(base(side)))
        };
        let [bound, default] = [ours(false), ours(true)];
        document.note(format!(
            "The best peer, {}, takes {:.1} times the instructions of otel-http with `bound-metrics` and {:.1} times those of \
             its default build; {:.1} and {:.1} times the time.",
            name(peer),
            cost.instructions / bound.instructions,
            cost.instructions / default.instructions,
            cost.native.nanoseconds / bound.native.nanoseconds,
            cost.native.nanoseconds / default.native.nanoseconds,
        ));
    }
}

pub(crate) fn name(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Bare => "bare",
        Candidate::PassThrough => "no-op layer",
        Candidate::TowerOtel => "tower-otel 0.12",
        Candidate::InstrumentationTower => "opentelemetry-instrumentation-tower 0.19",
        Candidate::AxumTracing => "axum-tracing-opentelemetry 0.42 (traces only)",
        Candidate::Oxtel => "oxtel-tower 0.3, with its own SDK",
        Candidate::Floor => "a simple one by hand: SDK propagator, span, attributes, bound metrics",
        Candidate::Ours => "**otel-http**, `bound-metrics`",
    }
}

/// Returns the base of the goals: a layer costs two allocations and about 900 instructions in axum, which they exclude.
fn base(side: Side) -> Candidate {
    match side {
        Side::Server => Candidate::PassThrough,
        Side::Client => Candidate::Bare,
    }
}

/// Returns the peer of the fewest instructions, with its cost over the base of the goals; `None` if a peer was not measured.
fn best_peer(results: &Results, side: Side, variant: Variant) -> Option<(Candidate, Measured)> {
    let at = |candidate| key(false, side, candidate, variant);
    let peers = Candidate::ALL.iter().filter(|peer| peer.is_peer() && peer.is_in(side, variant));
    let mut costs: Vec<_> = peers.map(|&peer| (peer, results.over(at(peer), at(base(side))))).collect();
    if costs.iter().any(|(_, cost)| cost.instructions.is_nan()) {
        return None;
    }
    costs.sort_by(|(_, one), (_, other)| one.instructions.total_cmp(&other.instructions));
    costs.first().copied()
}

/// Checks the goals of our layers.
fn goals(results: &Results, side: Side, variant: Variant, ours: Measured, default_build: bool) -> Goals {
    let mut goals = Goals::default();
    if default_build {
        return goals;
    }
    let (most, share, allocations) = match (side, variant) {
        (Side::Server, Variant::Sampled) => (7_750.0, Some(3.0), 7.0),
        (Side::Server, Variant::Unsampled) => (4_400.0, Some(5.0), 3.0),
        (Side::Server, Variant::DeclaredSampled) => (7_500.0, None, 7.0),
        (Side::Server, Variant::Declared) => (3_250.0, None, 2.0),
        (Side::Server, Variant::Forwarding) => (2_600.0, None, 2.0),
        (Side::Client, Variant::Sampled | Variant::DeclaredSampled) => (7_300.0, None, 5.0),
        (Side::Client, Variant::Unsampled) => (4_300.0, None, 2.0),
        (Side::Client, Variant::Declared) => (3_400.0, None, 1.0),
        _ => return goals,
    };
    goals.at_most(ours.instructions, most, "");
    if let Some(share) = share {
        let best = best_peer(results, side, variant).map_or(f64::NAN, |(_, cost)| cost.instructions);
        goals.at_most(ours.instructions, (best / share).floor(), &format!(" (best peer ÷ {share})"));
    }
    goals.at_most(ours.native.allocations, allocations, " allocations");
    goals
}

/// Returns the goal for atomics over the bare service, on cache lines that all threads share.
fn most_atomics(variant: Variant) -> Option<f64> {
    match variant {
        Variant::Declared => Some(8.0),
        Variant::Unsampled => Some(12.0),
        _ => None,
    }
}

fn add_propagation(results: &Results, document: &mut Document) {
    document.section("Propagation on a `HeaderMap`");
    let mut table = Table::new(&[COLUMNS[0], COLUMNS[1], COLUMNS[2], "times faster than the SDK (ns)"]);
    for (variant, title, goal) in propagation::VARIANTS {
        for candidate in propagation::CANDIDATES {
            let sdk = if candidate.ends_with("-global") { "sdk-global" } else { "sdk" };
            let at = propagation_key(candidate, variant);
            if !results.has(at) {
                continue;
            }
            let measured = results.get(at);
            let faster = results.times_faster(at, propagation_key(sdk, variant));
            let mut goals = Goals::default();
            let who = match candidate {
                "sdk" => "the SDK",
                "ours" => "**otel-propagation**",
                "sdk-global" => "the SDK, as the global propagator",
                _ => "**otel-propagation**, as the global propagator",
            };
            if let Some(goal) = goal.filter(|_| candidate == "ours") {
                goals.at_least(faster, goal, "");
            }
            let mut cells = measured.cells();
            cells.push(if candidate.starts_with("sdk") { "".into() } else { Cell::decimal(faster, 1) });
            table.row(format!("{title}: {who}"), cells, goals);
        }
    }
    document.table(table);
}
