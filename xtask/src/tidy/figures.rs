//! The figures of README.md are those of benchmarks/RESULTS.md, and each missed goal has a reason there.

use regex::Regex;

use crate::{
    bench::UNEXPLAINED,
    tidy::tree::{File, Finding, Tree},
};

const RESULTS: &str = "benchmarks/RESULTS.md";

/// The section whose figures are compared.
const SECTION: &str = "## What it costs";

/// A number, and the unit after it. It is a figure if it has three digits, a decimal, or a unit.
const NUMBER: &str = r"([0-9][0-9,]*(?:\.[0-9]+)?)(?:[ \u{a0}](%|×|µs|ns|ms|s|KiB|MiB|times)(?:\W|$))?";

/// Every figure of the README's section occurs in the results: the number, or with a unit the number with its unit.
pub(super) fn readme(tree: &Tree) -> Vec<Finding> {
    let Some(readme) = tree.file("README.md") else { return Vec::new() };
    let Some(results) = tree.file(RESULTS) else {
        return vec![Finding::new(RESULTS, 1, "missing; `cargo xtask bench all` makes it")];
    };
    let Ok(number) = Regex::new(NUMBER) else { return Vec::new() };
    let measured: Vec<_> = figures(&number, &results.text).collect();
    let mut findings = Vec::new();
    for (line, text) in section(readme) {
        for figure in figures(&number, text).filter(|figure| !measured.contains(figure)) {
            let message =
                format!("{} is not in {RESULTS}, which `cargo xtask bench all` makes", figure.trim());
            findings.push(Finding::new(&*readme.path, line, message));
        }
    }
    findings
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

/// Returns the figures of a text, each with its unit.
fn figures<'a>(number: &'a Regex, text: &'a str) -> impl Iterator<Item = String> + 'a {
    number.captures_iter(text).filter_map(|found| {
        let number = found[1].trim_end_matches(',');
        let unit = found.get(2).map_or("", |unit| unit.as_str());
        let digits = number.chars().filter(char::is_ascii_digit).count();
        (digits >= 3 || number.contains('.') || !unit.is_empty()).then(|| format!("{number} {unit}"))
    })
}

/// Returns the lines of the section, without the targets of its links.
fn section(readme: &File) -> impl Iterator<Item = (usize, &str)> {
    let after = readme.lines().skip_while(|(_, text)| *text != SECTION).skip(1);
    after.take_while(|(_, text)| !text.starts_with("## "))
}

#[cfg(test)]
mod tests {
    use super::{missed_goals, readme};
    use crate::tidy::tree::tree;

    fn findings(section: &str, results: &str) -> Vec<String> {
        let text = format!("1,234\n## What it costs\n{section}\n## Versions\n9,999\n");
        let tree = tree(&[("README.md", &text), ("benchmarks/RESULTS.md", results)]);
        readme(&tree).into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn figures_of_the_results_pass() {
        assert_eq!(findings("8,788 and 0.67 µs, 4 goals of 20", "| 8,788 | 0.67 µs, |"), [""; 0]);
        assert_eq!(findings("| **8,788 / 7** | 9.5, 1,050. |", "8,788 (9.5 to 1,050)"), [""; 0]);
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
        let found = readme(&tree(&[("README.md", "## What it costs\n")]));
        assert_eq!(found[0].message, "missing; `cargo xtask bench all` makes it");
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
