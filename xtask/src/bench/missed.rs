//! The reasons of missed goals, and the change that would reach each: written by hand, and listed only while the goal is
//! missed.

use anyhow::Result;
use serde::Deserialize;

use crate::bench::results::Document;

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Missed(Vec<Reason>);

/// The reason of the missed goals whose place contains all texts.
#[derive(Debug, Deserialize)]
struct Reason {
    comparison: String,
    /// Parts of `SECTION / SUBSECTION / ROW: GOAL`.
    contains: Vec<String>,
    reason: String,
    /// The change that would reach the goal.
    remedy: String,
}

/// The text of a missed goal without a reason, which `tidy` reports.
pub(crate) const UNEXPLAINED: &str = "no reason is recorded";

impl Missed {
    pub(super) fn parse(json: &str) -> Result<Self> {
        Ok(serde_json::from_str(json)?)
    }

    /// Lists the missed goals of all comparisons.
    pub(super) fn markdown(&self, documents: &[Document]) -> String {
        let mut text =
            String::from("| comparison | goal | reason | it would be reached by |\n|---|---|---|---|\n");
        let mut count = 0;
        for document in documents {
            for (top, below, table) in document.tables() {
                for row in &table.rows {
                    for goal in row.goals.iter().filter(|goal| !goal.met) {
                        count += 1;
                        let place: Vec<&str> =
                            [top, below, &row.name].into_iter().filter(|title| !title.is_empty()).collect();
                        let place = format!("{}: {}", place.join(" / "), goal.text);
                        let (reason, remedy) = self.reason(&document.name, &place);
                        text.push_str(&format!("| {} | {place} | {reason} | {remedy} |\n", document.name));
                    }
                }
            }
        }
        if count == 0 { "No goal is missed.\n".to_owned() } else { text }
    }

    fn reason(&self, comparison: &str, place: &str) -> (&str, &str) {
        let applies = |reason: &&Reason| {
            reason.comparison == comparison && reason.contains.iter().all(|part| place.contains(part))
        };
        let found = self.0.iter().find(applies);
        found.map_or((UNEXPLAINED, ""), |Reason { reason, remedy, .. }| (reason, remedy))
    }
}
