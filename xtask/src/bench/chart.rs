//! Bar charts as SVG, readable on light and dark pages.

use crate::bench::results::{Document, Table};

/// A chart and the comparison that it belongs to.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) name: &'static str,
    pub(super) comparison: &'static str,
    pub(super) title: &'static str,
    pub(super) svg: String,
}

/// The table of a series: the beginnings of the titles of its sections.
struct Series {
    legend: &'static str,
    sections: [&'static str; 2],
}

/// The values of a chart.
struct Source {
    name: &'static str,
    comparison: &'static str,
    title: &'static str,
    column: &'static str,
    series: &'static [Series],
}

const fn series(legend: &'static str, top: &'static str, below: &'static str) -> Series {
    Series { legend, sections: [top, below] }
}

const SOURCES: &[Source] = &[
    Source {
        name: "http-server",
        comparison: "http",
        title: "HTTP server layers: instructions a request, over the bare service",
        column: "instructions",
        series: &[
            series("sampled", "Server", "`traceparent` only, sampled"),
            series("not sampled", "Server", "`traceparent` only, unsampled"),
        ],
    },
    Source {
        name: "http-client",
        comparison: "http",
        title: "HTTP client layers: instructions a request, over the bare service",
        column: "instructions",
        series: &[
            series("sampled", "Client", "Sampled parent"),
            series("not sampled", "Client", "Unsampled parent"),
        ],
    },
    Source {
        name: "growth",
        comparison: "http",
        title: "otel-http as something grows: instructions a request, over the bare service",
        column: "instructions",
        series: &[series("", "Growth", "")],
    },
    Source {
        name: "grpc-server",
        comparison: "grpc",
        title: "gRPC server layers: instructions a call, over the bare service",
        column: "instructions",
        series: &[
            series("sampled", "Server: cost per unary", "Sampled parent"),
            series("not sampled", "Server: cost per unary", "Unsampled parent"),
        ],
    },
    Source {
        name: "sockets",
        comparison: "sockets",
        title: "HTTP servers behind sockets: processor time over bare, µs a request",
        column: "over bare",
        series: &[series("", "A handler that does nothing", "")],
    },
];

/// Draws the charts whose comparisons were measured.
pub(super) fn all(documents: &[Document]) -> Vec<Chart> {
    let drawn = SOURCES.iter().filter_map(|source| {
        let document = documents.iter().find(|document| document.name == source.comparison)?;
        let bars = bars(document, source);
        let legends: Vec<_> = source.series.iter().map(|series| series.legend).collect();
        (!bars.is_empty()).then(|| Chart {
            name: source.name,
            comparison: source.comparison,
            title: source.title,
            svg: svg(source.title, &legends, &bars),
        })
    });
    drawn.collect()
}

/// A group of bars: its label, and a value of each series.
type Bars = Vec<(String, Vec<f64>)>;

fn bars(document: &Document, source: &Source) -> Bars {
    let tables: Vec<Option<&Table>> = source
        .series
        .iter()
        .map(|series| {
            let [first, second] = series.sections;
            let found = document.tables().find(|(top, below, _)| {
                top.starts_with(first) && below.starts_with(second) && below.is_empty() == second.is_empty()
            });
            found.map(|(.., table)| table)
        })
        .collect();
    let Some(rows) = tables.first().copied().flatten().map(|table| &table.rows) else { return Vec::new() };
    let groups = rows.iter().map(|row| {
        let values = tables.iter().map(|table| value(*table, &row.name, source.column));
        (row.name.clone(), values.map(|value| value.unwrap_or(0.0)).collect::<Vec<_>>())
    });
    groups.filter(|(_, values)| values.iter().any(|value| *value != 0.0)).collect()
}

fn value(table: Option<&Table>, row: &str, column: &str) -> Option<f64> {
    let table = table?;
    let column = table.columns.iter().position(|title| title.starts_with(column))?;
    table.rows.iter().find(|one| one.name == row)?.cells.get(column)?.value
}

const WIDTH: f64 = 920.0;
/// The left end of the bars, after the labels.
const LEFT: f64 = 440.0;
/// The space for a value after the longest bar.
const RIGHT: f64 = 70.0;
const BAR: f64 = 13.0;
const GAP: f64 = 9.0;
const TOP: f64 = 52.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#1f2328}.title{font-weight:bold;font-size:14px}.a{fill:#0969da}\
    .b{fill:#8c6d1f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.a{fill:#4493f8}.b{fill:#d4a72c}}";

fn svg(title: &str, legends: &[&str], bars: &Bars) -> String {
    let group = BAR * legends.len() as f64 + GAP;
    let height = TOP + group * bars.len() as f64 + GAP;
    let most = bars.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\"><style>{STYLE}</style>\n<text class=\"title\" x=\"10\" y=\"20\">{title}</text>\n"
    );
    for (index, legend) in legends.iter().enumerate().filter(|(_, legend)| !legend.is_empty()) {
        let x = LEFT + 110.0 * index as f64;
        text.push_str(&format!(
            "<rect class=\"{}\" x=\"{x}\" y=\"30\" width=\"11\" height=\"11\"/><text x=\"{}\" y=\"40\">{legend}</text>\n",
            class(index),
            x + 16.0
        ));
    }
    for (row, (label, values)) in bars.iter().enumerate() {
        let top = TOP + group * row as f64;
        let middle = top + BAR * legends.len() as f64 / 2.0 + 4.0;
        text.push_str(&format!(
            "<text x=\"{}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            escape(&short(label))
        ));
        for (index, value) in values.iter().enumerate() {
            let y = top + BAR * index as f64;
            let width = (value.max(0.0) / most * (WIDTH - LEFT - RIGHT)).max(1.0);
            text.push_str(&format!(
                "<rect class=\"{}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\"/><text x=\"{:.1}\" \
                 y=\"{:.1}\">{}</text>\n",
                class(index),
                BAR - 2.0,
                LEFT + width + 5.0,
                y + BAR - 3.0,
                number(*value)
            ));
        }
    }
    text.push_str("</svg>\n");
    text
}

fn class(series: usize) -> &'static str {
    if series == 0 { "a" } else { "b" }
}

/// Removes the marks of Markdown, and shortens the label to its place.
fn short(label: &str) -> String {
    let plain: String = label.chars().filter(|character| !matches!(character, '*' | '`')).collect();
    if plain.chars().count() <= 60 { plain } else { plain.chars().take(59).chain(['…']).collect() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Formats a value of hundreds or more as an integer.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
