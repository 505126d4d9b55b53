//! The figures of README.md, and of the crates' READMEs, are those of benchmarks/RESULTS.md, and each missed goal has a reason there.

use std::collections::HashSet;

use regex::Regex;

use crate::{
    bench::UNEXPLAINED,
    tidy::tree::{File, Finding, Tree},
};

const RESULTS: &str = "benchmarks/RESULTS.md";

/// The section whose figures are compared: of README.md, and of a crate's README if it names [`COMMAND`].
const SECTION: &str = "## What it costs";
const CRATE_SECTION: &str = "## Cost";

/// The command that measures figures for the results. `cargo bench` measures others.
const COMMAND: &str = "cargo xtask bench";

/// A number, and the unit after it. It is a figure if it has three digits, a decimal, or a unit, or is in a table.
const NUMBER: &str = r"([0-9][0-9,]*(?:\.[0-9]+)?)(?:[ \u{a0}](%|×|µs|ns|ms|s|KiB|MiB|times)(?:\W|$))?";

/// Every figure of a README's section occurs in the results: the number, or with a unit the number with its unit.
pub(super) fn readmes(tree: &Tree) -> Vec<Finding> {
    let sections = tree.files.iter().filter_map(costs).collect::<Vec<_>>();
    if sections.is_empty() {
        return Vec::new();
    }
    let Some(results) = tree.file(RESULTS) else {
        return vec![Finding::new(RESULTS, 1, "missing; `cargo xtask bench all` makes it")];
    };
    let Ok(number) = Regex::new(NUMBER) else { return Vec::new() };
    // A figure without a unit is compared with the numbers of all units.
    let measured: HashSet<_> = figures(&number, &results.text, true)
        .flat_map(|figure| [figure.split_inclusive(' ').take(1).collect(), figure])
        .collect();
    let mut findings = Vec::new();
    for (path, lines) in sections {
        for (line, text) in lines {
            let in_table = text.starts_with('|');
            for figure in figures(&number, text, in_table).filter(|figure| !measured.contains(figure)) {
                let message =
                    format!("{} is not in {RESULTS}, which `cargo xtask bench all` makes", figure.trim());
                findings.push(Finding::new(path, line, message));
            }
        }
    }
    findings
}

/// Returns the path of a README with the lines of its section about costs, if its figures have to be in the results.
fn costs(file: &File) -> Option<(&str, Vec<(usize, &str)>)> {
    let path = file.path.as_str();
    if path == "README.md" {
        return Some((path, section(file, SECTION)));
    }
    if !(path.starts_with("crates/") && path.ends_with("/README.md")) {
        return None;
    }
    let lines = section(file, CRATE_SECTION);
    lines.iter().any(|(_, text)| text.contains(COMMAND)).then_some((path, lines))
}

/// A goal is missed for a reason.
pub(super) fn missed_goals(tree: &Tree) -> Vec<Finding> {
    let Some(results) = tree.file(RESULTS) else { return Vec::new() };
    let unexplained = results.lines().filter(|(_, text)| text.contains(UNEXPLAINED));
    unexplained
        .map(|(line, _)| {
            Finding::new(
                &*results.path,
                line,
                "add the reason of the missed goal to benchmarks/missed-goals.json",
            )
        })
        .collect()
}

/// Returns the figures of a text, each with its unit; every number of it if `all` is set.
fn figures<'a>(number: &'a Regex, text: &'a str, all: bool) -> impl Iterator<Item = String> + 'a {
    number.captures_iter(text).filter_map(move |found| {
        let number = found[1].trim_end_matches(',');
        let unit = found.get(2).map_or("", |unit| unit.as_str());
        let digits = number.chars().filter(char::is_ascii_digit).count();
        (all || digits >= 3 || number.contains('.') || !unit.is_empty()).then(|| format!("{number} {unit}"))
    })
}

/// Returns the lines of the section with this heading.
fn section<'a>(readme: &'a File, heading: &str) -> Vec<(usize, &'a str)> {
    let after = readme.lines().skip_while(|(_, text)| *text != heading).skip(1);
    after.take_while(|(_, text)| !text.starts_with("## ")).collect()
}

#[cfg(test)]
mod tests {
    use super::{missed_goals, readmes};
    use crate::tidy::tree::tree;

    fn findings(section: &str, results: &str) -> Vec<String> {
        let text = format!("1,234\n## What it costs\n{section}\n## Versions\n9,999\n");
        let tree = tree(&[("README.md", &text), ("benchmarks/RESULTS.md", results)]);
        readmes(&tree).into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn figures_of_the_results_pass() {
        assert_eq!(findings("8,788 and 0.67 µs, 4 goals of 20", "| 8,788 | 0.67 µs, |"), [""; 0]);
        assert_eq!(findings("| **8,788 / 7** | 9.5, 1,050. |", "8,788, 7 (9.5 to 1,050)"), [""; 0]);
        assert_eq!(findings("| a, in ms | 45 |", "45 ms"), [""; 0]);
        assert_eq!(findings("| a | 45 |", "46").len(), 1);
    }

    #[test]
    fn other_figures_are_found() {
        let results = "| 8,788 | 67 ns | 5.5 ";
        for figure in ["8,789", "788", "67 µs", "67 %", "5.6", "5.50"] {
            let found = findings(&format!("a line\nof {figure}, and"), results);
            assert_eq!(
                found,
                [format!("4: {figure} is not in benchmarks/RESULTS.md, which `cargo xtask bench all` makes")]
            );
        }
    }

    #[test]
    fn results_that_do_not_exist_are_found() {
        let found = readmes(&tree(&[("README.md", "## What it costs\n")]));
        assert_eq!(found[0].message, "missing; `cargo xtask bench all` makes it");
    }

    #[test]
    fn the_costs_of_a_crate_are_found_if_the_command_measures_them() {
        let found = |command: &str| {
            let text = format!("1,234\n## Cost\nBy `{command}`: 1,777 or 9.5.\n## Soak\n9,999\n");
            readmes(&tree(&[("crates/otel-a/README.md", &text), ("benchmarks/RESULTS.md", "9.5")]))
        };
        assert_eq!(found("cargo bench -p otel-a"), []);
        let found = found("cargo xtask bench a");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("crates/otel-a/README.md", 3));
        assert!(found[0].message.starts_with("1,777 is not in"), "{}", found[0].message);
    }

    #[test]
    fn a_missed_goal_needs_a_reason() {
        let with = |text: &str| missed_goals(&tree(&[("benchmarks/RESULTS.md", text)]));
        assert!(with("| http | 4 > 3 | It is new. |").is_empty());
        let found = with("| http | 4 > 3 | no reason is recorded | |");
        assert_eq!(found[0].line, 1);
        assert_eq!(found[0].message, "add the reason of the missed goal to benchmarks/missed-goals.json");
    }
}
