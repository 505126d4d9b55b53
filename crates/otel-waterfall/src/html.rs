//! The HTML renderer: one self-contained page with the rows of the layout, all attributes in collapsed details.

use std::fmt::Write;

use crate::{
    duration::human,
    escape::html as escaped,
    layout::{Item, Layout, Row, count, service_name},
    model::{Span, Trace},
    text::kind,
};

/// Maximum number of rows of one trace, because more make the page slow; those in the middle are omitted and counted.
const MAX_ROWS: usize = 2_000;
/// Depth from which rows are not indented further.
const MAX_INDENT: usize = 24;
/// Hues of the services; red is reserved for errors.
const HUES: [u16; 6] = [190, 130, 220, 280, 45, 165];

/// Renders the traces as one self-contained page: no scripts, no external resources, all text escaped.
///
/// If a trace has more than 2,000 rows, those in the middle are omitted and counted.
#[must_use]
pub fn html(traces: &[Trace]) -> String {
    let mut out = String::from(include_str!("page.html"));
    for trace in traces {
        section(&mut out, trace);
    }
    if traces.is_empty() {
        out.push_str("<p>No traces.</p>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn section(out: &mut String, trace: &Trace) {
    let layout = Layout::new(trace, MAX_ROWS);
    let name = layout.rows.iter().find_map(Row::span).map_or("", |span| span.name.as_str());
    let mut facts = vec![human(layout.total), count(trace.spans.len() as u64, "span")];
    if layout.errors > 0 {
        facts.push(count(layout.errors as u64, "error"));
    }
    if trace.continued {
        facts.push("more of a trace drawn before".to_owned());
    }
    if trace.not_kept > 0 {
        facts.push(format!("{} not kept", count(trace.not_kept, "more span")));
    }
    let _ = writeln!(
        out,
        "<section>\n<h2>{}</h2>\n<p class=\"facts\">{} <code>{}</code></p>\n<ul class=\"services\">",
        escaped(name),
        facts.join(" · "),
        trace.id
    );
    for (number, service) in layout.services.iter().enumerate() {
        let service = if service.is_empty() { "unknown" } else { service };
        let _ = writeln!(out, "<li style=\"--hue:{}\">{}</li>", hue(number), escaped(service));
    }
    let _ = writeln!(
        out,
        "</ul>\n<div class=\"axis\"><span>0</span><span>{}</span><span>{}</span></div>",
        human(layout.total / 2),
        human(layout.total)
    );
    for (place, row) in layout.shown() {
        if place == layout.hidden.end && !layout.hidden.is_empty() {
            let _ = writeln!(out, "<p class=\"note\">{}</p>", layout.hidden_note());
        }
        match row.item {
            Item::Span { span, .. } => span_row(out, &layout, row, span),
            Item::Missing(id) => {
                let _ = writeln!(out, "<p class=\"note\">(missing parent <code>{id}</code>)</p>");
            }
        }
    }
    out.push_str("</section>\n");
}

fn span_row(out: &mut String, layout: &Layout<'_>, row: &Row<'_>, span: &Span) {
    let failed = if span.is_error() { " failed" } else { "" };
    let offset = span.start - layout.start;
    let _ = write!(
        out,
        "<details class=\"span{failed}\" style=\"--hue:{};--depth:{}\"><summary><span class=\"name\">{}</span>\
         <span class=\"service\">{}</span><span class=\"kind\">{}</span><span class=\"time\">{}</span>\
         <span class=\"track\"><i style=\"left:{}%;width:{}%\"></i>",
        hue(layout.service_number(&span.service)),
        row.depth.min(MAX_INDENT),
        escaped(&span.name),
        escaped(service_name(&span.service)),
        kind(&span.kind),
        human(span.duration()),
        percent(offset, layout.total),
        percent(span.duration(), layout.total),
    );
    for event in &span.events {
        let at = event.time.saturating_sub(layout.start).min(layout.total);
        let _ = write!(
            out,
            "<b style=\"left:{}%\" title=\"{} +{}\"></b>",
            percent(at, layout.total),
            escaped(&event.name),
            human(at)
        );
    }
    out.push_str("</span></summary>\n");
    details(out, layout, row, span, offset);
    out.push_str("</details>\n");
    // Errors and oddities are visible without opening the details.
    let notes = Layout::error(span).into_iter().map(|error| format!("✗ {error}"));
    for note in notes.chain(layout.oddities(row).into_iter().map(|note| format!("! {note}"))) {
        let depth = row.depth.min(MAX_INDENT);
        let _ = writeln!(out, "<p class=\"note{failed}\" style=\"--depth:{depth}\">{}</p>", escaped(&note));
    }
}

fn details(out: &mut String, layout: &Layout<'_>, row: &Row<'_>, span: &Span, offset: u64) {
    out.push_str("<dl>\n");
    fact(out, "span", &span.span_id.to_string());
    if let (Some(parent), None) = (span.parent, row.parent) {
        fact(out, "parent", &parent.to_string());
    }
    fact(out, "starts at", &format!("+{}", human(offset)));
    for (key, value) in &span.attributes {
        fact(out, key, value);
    }
    for event in &span.events {
        let at = human(event.time.saturating_sub(layout.start));
        fact(out, &format!("◆ +{at}"), &with_pairs(&event.name, &event.attributes));
    }
    for link in &span.links {
        fact(out, "→ link", &with_pairs(&format!("{}/{}", link.trace_id, link.span_id), &link.attributes));
    }
    out.push_str("</dl>\n");
}

fn fact(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(key), escaped(value));
}

fn with_pairs(text: &str, attributes: &[(String, String)]) -> String {
    attributes.iter().fold(text.to_owned(), |text, (key, value)| format!("{text} {key}={value}"))
}

fn hue(service: usize) -> u16 {
    HUES[service % HUES.len()]
}

/// Formats a share as a percentage with three decimals.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0.000".to_owned();
    }
    let thousandths = u128::from(part.min(whole)) * 100_000 / u128::from(whole);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}
