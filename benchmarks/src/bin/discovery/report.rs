//! Runs each cell in a separate process and prints the tables with the goals.

use std::path::Path;

use benchmarks::cells::{Key, Results, facts, machine, measure};
use benchmarks::cli::Options;
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, count, whole};

use crate::cell::{CHANGE, Candidate, FAULTS, PICK, Variant};
use crate::faults::{self, Client};

/// The number of rounds of native measurements, alternating between the candidates.
const ROUNDS: usize = 3;

/// The goal: the instructions of a choice among 10,000 endpoints.
const INSTRUCTIONS: f64 = 3_000.0;

/// Measures all cells and prints the tables.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let is_wanted =
        |label: &str| options.only.is_empty() || options.only.iter().any(|text| label.contains(text));
    let keys: Vec<Key> = keys().filter(|key| is_base(key) || is_wanted(&key.label())).collect();
    if keys.iter().any(|key| !is_base(key)) {
        picks(options, &keys)?;
    }
    let candidates = Candidate::ALL.iter().copied().filter(|one| one.is_ours());
    let candidates: Vec<_> =
        candidates.filter(|one| is_wanted(&format!("{CHANGE}-{}", one.name()))).collect();
    if !candidates.is_empty() {
        changes(&candidates)?;
    }
    let clients =
        Client::ALL.iter().copied().filter(|client| is_wanted(&format!("{FAULTS}-{}", client.name())));
    let clients: Vec<_> = clients.collect();
    if !clients.is_empty() {
        print_faults(&clients)?;
    }
    Ok(())
}

fn is_base(key: &Key) -> bool {
    key.candidate == Candidate::Bare.name()
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

fn picks(options: &Options, keys: &[Key]) -> Result<(), Failure> {
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let counts = |_: &Key| usize::from(valgrind.is_some());
    // No cell is of the build without default features.
    let results = measure(keys, Path::new(""), |_| ROUNDS, counts)?;
    println!(
        "# Discovery: a choice among 10,000 endpoints, one of which is exchanged after each ten calls\n"
    );
    println!("{}\n", facts(valgrind.as_deref()));
    let mut goals = (0, 0);
    print_picks(&results, &mut goals);
    println!("Goals: {} met, {} missed.\n", goals.0, goals.1);
    Ok(())
}

fn changes(candidates: &[Candidate]) -> Result<(), Failure> {
    println!("## A change: one of 10,000 endpoints removed and one added, until calls can choose it\n");
    let mut table = Table::new(&["", "µs", ""]);
    let binary = std::env::current_exe()?;
    for &candidate in candidates {
        let numbers = process::numbers(&binary, &["--cell", CHANGE, candidate.name()])?;
        let time = numbers.get("microseconds").copied().unwrap_or(f64::NAN);
        table.row(vec![label(candidate).to_owned(), whole(time), String::new()]);
    }
    table.print();
    Ok(())
}

fn print_picks(results: &Results, sum: &mut (usize, usize)) {
    println!("## A choice, over the call of an endpoint alone\n");
    let mut table = Table::new(&["", "instructions", "allocations", "ns", "goals"]);
    for &candidate in Candidate::ALL {
        for &variant in Variant::ALL {
            let key = |candidate| key(candidate, variant);
            if candidate == Candidate::Bare || !results.has(key(candidate)) {
                continue;
            }
            let measured = results.get(key(candidate)).over(results.get(key(Candidate::Bare)));
            let mut goals = Goals::default();
            if candidate.is_ours() {
                goals.at_most(measured.instructions, INSTRUCTIONS, "");
            }
            goals.add_to(sum);
            table.row(vec![
                format!("{}: {}", label(candidate), variant_label(variant)),
                whole(measured.instructions),
                count(measured.native.allocations),
                whole(measured.native.nanoseconds),
                goals.cell(),
            ]);
        }
    }
    table.print();
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

fn print_faults(clients: &[Client]) -> Result<(), Failure> {
    println!("# Discovery: {} calls, {}\n", faults::CALLS, faults::DESCRIPTION);
    println!("{}\n", machine());
    let mut table =
        Table::new(&["", "failed", "p50 ms", "p99 ms", "three good: share of each", "slow", "dead", ""]);
    let binary = std::env::current_exe()?;
    for &client in clients {
        eprintln!("measuring {}", client.name());
        let numbers = process::numbers(&binary, &["--cell", FAULTS, client.name()])?;
        let number = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
        let share = |name: &str| format!("{:.1} %", 100.0 * number(name) / faults::CALLS as f64);
        table.row(vec![
            client.label().to_owned(),
            whole(number("failed")),
            format!("{:.1}", number("p50")),
            format!("{:.1}", number("p99")),
            ["good-0", "good-1", "good-2"].map(share).join(", "),
            share("slow"),
            share("dead"),
            String::new(),
        ]);
    }
    table.print();
    Ok(())
}
