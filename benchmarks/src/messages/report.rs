//! Runs each cell of a broker's benchmark in a separate process and prints the tables with the goals.

use crate::cells::{COLUMNS, Key, Results, measure_wanted};
use crate::cli::Options;
use crate::messages::{Candidate, Variant};
use crate::process::Failure;
use crate::results::Document;
use crate::table::{Goals, Table};

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
    /// Measures all cells and adds the tables.
    pub fn add(&self, options: &Options, document: &mut Document) -> Result<(), Failure> {
        if std::env::var_os(self.url).is_none() {
            return Err(
                format!("{} is not set (`cargo xtask services up {}`)", self.url, self.service).into()
            );
        }
        let results = measure_wanted(options, self.keys().into_iter(), &[Candidate::Bare.name()])?;
        document.title(&format!("{}: cost per message", self.title));
        for &(side, heading) in self.sides {
            document.section(heading);
            self.add_side(&results, side, document);
        }
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

    fn add_side(&self, results: &Results, side: &'static str, document: &mut Document) {
        let [client, ours] = self.clients;
        let ours = format!("{ours}, `bound-metrics`");
        let mut table = Table::new(&COLUMNS);
        for &variant in Variant::ALL {
            let over = |candidate, variant| {
                results.over(key(side, candidate, variant), key(side, Candidate::Bare, variant))
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
                table.row(format!("{}: {name}", variant.label()), cost.cells(), goals);
            }
        }
        document.table(table);
        let bare = results.get(key(side, Candidate::Bare, Variant::Sampled));
        document.note(bare.describe(&format!("{client} itself")));
    }
}

fn key(side: &'static str, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build: false, side, candidate: candidate.name(), variant: variant.name() }
}
