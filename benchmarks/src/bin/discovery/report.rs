//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cells::{COLUMNS, Key, Results, measure_wanted};
use benchmarks::cli::Options;
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

use crate::cell::{CHANGE, Candidate, FAULTS, PICK, Variant};
use crate::faults::{self, Client};

/// The goal: the instructions of a choice among 10,000 endpoints.
const INSTRUCTIONS: f64 = 3_000.0;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    document.title("Discovery: choices of an endpoint, changes and faults of endpoints");
    let is_base = |key: &Key| key.candidate == Candidate::Bare.name();
    if keys().any(|key| !is_base(&key) && options.wants(&key.label())) {
        let results = measure_wanted(options, keys(), &[Candidate::Bare.name()])?;
        add_picks(&results, document);
    }
    let candidates = Candidate::ALL.iter().copied().filter(|one| one.is_ours());
    let candidates: Vec<_> =
        candidates.filter(|one| options.wants(&format!("{CHANGE}-{}", one.name()))).collect();
    if !candidates.is_empty() {
        add_changes(&candidates, document)?;
    }
    let clients =
        Client::ALL.iter().copied().filter(|client| options.wants(&format!("{FAULTS}-{}", client.name())));
    let clients: Vec<_> = clients.collect();
    if !clients.is_empty() {
        add_faults(&clients, document)?;
    }
    Ok(())
}

fn keys() -> impl Iterator<Item = Key> {
    let cells = Candidate::ALL
        .iter()
        .flat_map(|&candidate| Variant::ALL.iter().map(move |&variant| (candidate, variant)));
    cells
        .filter(|(candidate, variant)| candidate.has(*variant))
        .map(|(candidate, variant)| key(candidate, variant))
}

fn key(candidate: Candidate, variant: Variant) -> Key {
    Key { default_build: false, side: PICK, candidate: candidate.name(), variant: variant.name() }
}

fn add_changes(candidates: &[Candidate], document: &mut Document) -> Result<(), Failure> {
    document.section("A change: one of 10,000 endpoints removed and one added, until calls can choose it");
    let mut table = Table::new(&["µs"]);
    let binary = std::env::current_exe()?;
    for &candidate in candidates {
        let numbers = process::numbers(&binary, &["--cell", CHANGE, candidate.name()])?;
        let time = numbers.get("microseconds").copied().unwrap_or(f64::NAN);
        table.row(label(candidate), vec![Cell::whole(time)], Goals::default());
    }
    document.table(table);
    Ok(())
}

fn add_picks(results: &Results, document: &mut Document) {
    document.section("A choice among 10,000 endpoints, over the call of an endpoint alone");
    let mut table = Table::new(&COLUMNS);
    for &candidate in Candidate::ALL {
        for &variant in Variant::ALL {
            let key = |candidate| key(candidate, variant);
            if candidate == Candidate::Bare || !results.has(key(candidate)) {
                continue;
            }
            let measured = results.over(key(candidate), key(Candidate::Bare));
            let mut goals = Goals::default();
            if candidate.is_ours() {
                goals.at_most(measured.instructions, INSTRUCTIONS, "");
            }
            table.row(format!("{}: {}", label(candidate), variant_label(variant)), measured.cells(), goals);
        }
    }
    document.table(table);
}

fn label(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Bare => "the service alone",
        Candidate::TowerPending => "tower's `Balance`, `PendingRequests`",
        Candidate::TowerEwma => "tower's `Balance`, `PeakEwma`",
        Candidate::RoundRobin => "`Strategy::RoundRobin`",
        Candidate::Random => "`Strategy::Random`",
        Candidate::Weighted => "`Strategy::Weighted`",
        Candidate::LeastPending => "`Strategy::LeastPending`",
    }
}

fn variant_label(variant: Variant) -> &'static str {
    match variant {
        Variant::Unsampled => "not sampled",
        Variant::Sampled => "sampled",
        Variant::Nothing => "no SDK",
    }
}

fn add_faults(clients: &[Client], document: &mut Document) -> Result<(), Failure> {
    document.section(format!("{} calls, {}", faults::CALLS, faults::DESCRIPTION));
    let mut table = Table::new(&["failed", "p50 ms", "p99 ms", "three good: share of each", "slow", "dead"]);
    let binary = std::env::current_exe()?;
    for &client in clients {
        eprintln!("measuring {}", client.name());
        let numbers = process::numbers(&binary, &["--cell", FAULTS, client.name()])?;
        let number = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
        let share = |name: &str| format!("{:.1} %", 100.0 * number(name) / faults::CALLS as f64);
        let cells = vec![
            Cell::whole(number("failed")),
            Cell::decimal(number("p50"), 1),
            Cell::decimal(number("p99"), 1),
            ["good-0", "good-1", "good-2"].map(share).join(", ").into(),
            share("slow").into(),
            share("dead").into(),
        ];
        table.row(client.label(), cells, Goals::default());
    }
    document.table(table);
    Ok(())
}
