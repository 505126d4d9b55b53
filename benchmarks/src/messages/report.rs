//! Runs each cell of a broker's benchmark in a separate process and prints the tables with the goals.

use std::path::Path;

use crate::cells::{Key, Results, facts, measure};
use crate::cli::Options;
use crate::messages::{Candidate, Variant};
use crate::process::{self, Failure};
use crate::table::{Goals, Table, count, whole};

/// The number of rounds of native measurements, alternating between the candidates.
const ROUNDS: usize = 3;

/// The number of instruction counts of a cell.
const COUNTS: usize = 3;

/// The goals: the largest ratio to the floor, and the most instructions if nothing is installed.
const SAMPLED: f64 = 1.0;
const UNSAMPLED: f64 = 0.75;
const NOTHING: f64 = 300.0;

/// The tables of a broker.
#[derive(Debug)]
pub struct Tables {
    /// The broker.
    pub title: &'static str,
    /// The variable with the address of a server.
    pub url: &'static str,
    /// The name of the service for `cargo xtask services`.
    pub service: &'static str,
    /// The broker's client and our crate.
    pub clients: [&'static str; 2],
    /// The sides with their headings.
    pub sides: &'static [(&'static str, &'static str)],
}

impl Tables {
    /// Measures all cells and prints the tables.
    pub fn print(&self, options: &Options) -> Result<(), Failure> {
        if std::env::var_os(self.url).is_none() {
            return Err(
                format!("{} is not set (`cargo xtask services up {}`)", self.url, self.service).into()
            );
        }
        let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
        let wanted = |key: &Key| {
            options.only.is_empty()
                || key.candidate == Candidate::Bare.name()
                || options.only.iter().any(|text| key.label().contains(text))
        };
        let keys: Vec<Key> = self.keys().into_iter().filter(wanted).collect();
        let counts = |_: &Key| if valgrind.is_some() { COUNTS } else { 0 };
        // No cell is of the build without default features.
        let results = measure(&keys, Path::new(""), |_| ROUNDS, counts)?;
        let mut goals = (0, 0);
        println!("# {}: cost per message\n", self.title);
        println!("{}\n", facts(valgrind.as_deref()));
        for &(side, heading) in self.sides {
            println!("## {heading}\n");
            self.print_side(&results, side, &mut goals);
        }
        println!("Goals: {} met, {} missed.", goals.0, goals.1);
        Ok(())
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for &(side, _) in self.sides {
            for &variant in Variant::ALL {
                let has = |candidate: &Candidate| *candidate != Candidate::Floor || variant.has_floor();
                keys.extend(Candidate::ALL.iter().copied().filter(has).map(|of| key(side, of, variant)));
            }
        }
        keys
    }

    fn print_side(&self, results: &Results, side: &'static str, sum: &mut (usize, usize)) {
        let [client, ours] = self.clients;
        let ours = format!("{ours}, `bound-metrics`");
        let mut table = Table::new(&["", "instructions", "allocations", "ns", "goals"]);
        for &variant in Variant::ALL {
            let over = |candidate, variant| {
                let bare = results.get(key(side, Candidate::Bare, variant));
                results.get(key(side, candidate, variant)).over(bare)
            };
            for (candidate, name) in [
                (Candidate::Floor, "floor: SDK propagator, span, attributes, bound metrics"),
                (Candidate::Ours, &*ours),
            ] {
                if !results.has(key(side, candidate, variant)) {
                    continue;
                }
                let cost = over(candidate, variant);
                let mut goals = Goals::default();
                if candidate == Candidate::Ours {
                    let floor = |variant| over(Candidate::Floor, variant).instructions;
                    let (most, note) = match variant {
                        Variant::Sampled => (floor(variant) * SAMPLED, " (1.0 × the floor)"),
                        Variant::Unsampled | Variant::Declared => {
                            (floor(Variant::Unsampled) * UNSAMPLED, " (0.75 × the floor)")
                        }
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
            "{client} itself: {} instructions, {} allocations, {} ns.\n",
            whole(bare.instructions),
            count(bare.native.allocations),
            whole(bare.native.nanoseconds)
        );
    }
}

fn key(side: &'static str, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build: false, side, candidate: candidate.name(), variant: variant.name() }
}

fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Unsampled => "not sampled",
        Variant::Declared => "not sampled, declared",
        Variant::Sampled => "sampled",
        Variant::Nothing => "nothing installed",
    }
}
