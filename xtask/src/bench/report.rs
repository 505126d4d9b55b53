//! `benchmarks/RESULTS.md`: the figures of all comparisons.

use crate::bench::{
    chart::Chart,
    missed::Missed,
    results::{Document, Machine, Table},
};

const METHOD: &str = "\
- **Instructions** are counted by callgrind in one process on one thread. In one build they repeat to about ±20; with brokers and \
databases, whose threads change the number of polls, to some hundreds. They are not time: a read of the clock counts 27 and \
takes 40 ns, and a miss of the cache counts nothing.
- **Allocations** are counted, and growing one counts as one. Times are medians, with the range of all rounds in parentheses; a \
difference has the median and the range of the differences within a round. On a shared machine times vary by up to a factor of two. \
The load average of each part is in the table above.
- **A request** has one span, three headers besides the context, and a body of three bytes. Exporters discard; their cost, \
and the network, are not part of any figure.
- A goal is compared with the figure of this run. [README.md](README.md) has the method of each comparison.
";

/// Formats the results; the same figures give the same text.
pub(super) fn markdown(documents: &[Document], absent: &[&str], missed: &Missed, charts: &[Chart]) -> String {
    let mut text = String::from(
        "# Results\n\nMade by `cargo xtask bench all` from the figures of its run. Do not edit: \
         `cargo xtask bench report` writes it again.\n\n",
    );
    let mut machines: Vec<&Machine> = documents.iter().map(|document| &document.machine).collect();
    machines.dedup();
    for Machine { processor, cores, system, rust } in machines {
        text.push_str(&format!("{processor}, {cores} cores, {system}; {rust}.\n\n"));
    }
    text.push_str(
        "| comparison | begun, UTC | minutes | load average before, after |\n|---|---|---:|---:|\n",
    );
    for document in documents {
        let Document { name, date, seconds, load: [before, after], .. } = document;
        let (minutes, selection) = (seconds / 60.0, document.selection());
        text.push_str(&format!(
            "| [`cargo xtask bench {name}{selection}`](#{name}) | {date} | {minutes:.1} | {before}, {after} |\n"
        ));
    }
    let minutes = documents.iter().map(|document| document.seconds).sum::<f64>() / 60.0;
    text.push_str(&format!("| all | | {minutes:.0} | |\n\n"));
    if !absent.is_empty() {
        text.push_str(&format!("Not measured in this run: {}.\n\n", absent.join(", ")));
    }
    text.push_str(METHOD);
    text.push_str("\n## Missed goals\n\n");
    text.push_str(&missed.markdown(documents));
    for document in documents {
        add(&mut text, document, charts);
    }
    text
}

fn add(text: &mut String, document: &Document, charts: &[Chart]) {
    text.push_str(&format!("\n<a id=\"{}\"></a>\n\n## {}\n\n", document.name, document.title));
    for Chart { name, title, .. } in charts.iter().filter(|chart| chart.comparison == document.name) {
        text.push_str(&format!("![{title}](charts/{name}.svg)\n\n"));
    }
    for section in &document.sections {
        text.push_str(&format!("{} {}\n\n", "#".repeat(section.level + 1), section.title));
        if let Some(table) = &section.table {
            add_table(text, table);
        }
        for note in &section.notes {
            text.push_str(&format!("{note}\n\n"));
        }
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
}

fn add_table(text: &mut String, table: &Table) {
    let has_goals = table.rows.iter().any(|row| !row.goals.is_empty());
    let goals = |head: &str| if has_goals { format!(" {head} |") } else { String::new() };
    text.push_str(&format!("| | {} |{}\n", table.columns.join(" | "), goals("goals")));
    text.push_str(&format!(
        "|---|{}{}\n",
        "---:|".repeat(table.columns.len()),
        goals("---").replace(' ', "")
    ));
    for row in &table.rows {
        let cells: Vec<&str> = row.cells.iter().map(|cell| &*cell.text).collect();
        let results = row
            .goals
            .iter()
            .map(|goal| format!("{} {}", if goal.met { "met:" } else { "**missed:**" }, goal.text));
        let results = results.collect::<Vec<_>>().join("; ");
        text.push_str(&format!("| {} | {} |{}\n", row.name, cells.join(" | "), goals(&results)));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::bench::{chart, missed::Missed, results::Document};

    const FIGURES: &str = include_str!("report/figures.json");
    const RENDERED: &str = include_str!("report/rendered.md");
    const REASONS: &str = r#"[{"comparison": "http", "contains": ["sampled parent", "ours"], "reason": "It is new.",
        "remedy": "Less of it."}]"#;

    fn rendered() -> (String, Vec<chart::Chart>) {
        let documents = [Document::parse(FIGURES).unwrap()];
        let charts = chart::all(&documents);
        (markdown(&documents, &["grpc"], &Missed::parse(REASONS).unwrap(), &charts), charts)
    }

    #[test]
    fn the_same_figures_give_the_same_text() {
        let (text, charts) = rendered();
        assert_eq!(text, RENDERED);
        assert_eq!(charts.len(), 1);
        assert_eq!(charts[0].svg, rendered().1[0].svg);
    }

    #[test]
    fn a_chart_has_a_bar_of_each_series_in_proportion() {
        let (_, charts) = rendered();
        let svg = &charts[0].svg;
        assert_eq!(svg.matches("<rect class=\"a\"").count(), 3, "the legend and two bars: {svg}");
        assert!(svg.contains("width=\"410.0\"") && svg.contains("width=\"205.0\""), "{svg}");
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn a_missed_goal_without_a_reason_is_marked() {
        let documents = [Document::parse(FIGURES).unwrap()];
        let text = markdown(&documents, &[], &Missed::parse("[]").unwrap(), &[]);
        assert!(text.contains("no reason is recorded"), "{text}");
        assert!(!rendered().0.contains("no reason is recorded"));
    }
}
