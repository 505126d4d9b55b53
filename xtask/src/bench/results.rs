//! The figures of a comparison, as `benchmarks/src/results.rs` writes them.

use anyhow::Result;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) title: String,
    /// The arguments of the run, which end with the file of the figures.
    arguments: Vec<String>,
    pub(super) machine: Machine,
    /// The time at which the run began, in UTC.
    pub(super) date: String,
    pub(super) seconds: f64,
    /// The load average of the last minute, before and after the run.
    pub(super) load: [f64; 2],
    pub(super) sections: Vec<Section>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) system: String,
    pub(super) rust: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Section {
    /// The level of the heading: 2, or 3 for a part of the last one of level 2.
    pub(super) level: usize,
    pub(super) title: String,
    pub(super) table: Option<Table>,
    /// The paragraphs after the table.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
    pub(super) goals: Vec<Goal>,
}

/// A value as it is shown, and as a number where it is one.
#[derive(Debug, Deserialize)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) value: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Goal {
    pub(super) met: bool,
    pub(super) text: String,
}

impl Document {
    pub(super) fn parse(json: &str) -> Result<Self> {
        Ok(serde_json::from_str(json)?)
    }

    /// Returns the arguments that select a part of the comparison, each after a space; empty if it is complete.
    pub(super) fn selection(&self) -> String {
        let selecting = self.arguments.iter().take_while(|argument| *argument != "--json");
        selecting.map(|argument| format!(" {argument}")).collect()
    }

    /// Returns the tables with the titles of their sections, of level 2 and 3.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &str, &Table)> {
        let mut top = "";
        self.sections.iter().filter_map(move |section| {
            let mut below = "";
            if section.level == 2 {
                top = &section.title;
            } else {
                below = &section.title;
            }
            Some((top, below, section.table.as_ref()?))
        })
    }
}
