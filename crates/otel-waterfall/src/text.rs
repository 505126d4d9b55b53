//! The text renderer, for a terminal or a pipe.
//!
//! Colours follow SGR of [ECMA-48](https://ecma-international.org/publications-and-standards/standards/ecma-48/);
//! without colours the text has no escape sequences.

use std::fmt::Write;

use opentelemetry::trace::SpanKind;

use crate::{
    bar::{Bar, Cell},
    columns::Columns,
    duration::human,
    escape::{fit, visible, width},
    layout::{Item, Layout, Row, count, service_name},
    model::{Link, Span, Trace},
    style::{Color, Style},
};

/// Renders the trace as text; each line ends with a newline and is no wider than the style allows.
///
/// Each name and value is on one line with control characters escaped, so that untrusted text cannot control the
/// terminal.
#[must_use]
pub fn text(trace: &Trace, style: &Style) -> String {
    let layout = Layout::new(trace, style.rows());
    let columns = Columns::new(style.columns(), &layout);
    let mut text = Text {
        color: style.color == Color::Always,
        style,
        columns,
        layout: &layout,
        trace,
        out: String::new(),
    };
    text.header();
    text.axis();
    for (place, row) in text.layout.shown() {
        if place == layout.hidden.end && !layout.hidden.is_empty() {
            text.line(&[(layout.hidden_note(), DIM)]);
        }
        text.row(place, row);
    }
    text.out
}

const PLAIN: &str = "";
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const YELLOW: &str = "33";
/// Colours of the services; red is reserved for errors.
const SERVICES: [&str; 6] = ["36", "32", "34", "35", "33", "96"];

struct Text<'a> {
    style: &'a Style,
    color: bool,
    columns: Columns,
    layout: &'a Layout<'a>,
    trace: &'a Trace,
    out: String,
}

impl Text<'_> {
    fn header(&mut self) {
        let layout = self.layout;
        let mut parts = vec![
            format!("trace {}", self.trace.id),
            human(layout.total),
            count(self.trace.spans.len() as u64, "span"),
        ];
        if layout.errors > 0 {
            parts.push(count(layout.errors as u64, "error"));
        }
        if let [service] = layout.services[..] {
            parts.push(if service.is_empty() { "unknown".to_owned() } else { visible(service).into_owned() });
        }
        if self.trace.continued {
            parts.push("more of a trace drawn before".to_owned());
        }
        if self.trace.not_kept > 0 {
            parts.push(format!("{} not kept", count(self.trace.not_kept, "more span")));
        }
        self.wrapped("", &parts, " · ", BOLD);
    }

    /// Writes the scale above the bars: start, middle (if there is room) and end.
    fn axis(&mut self) {
        let total = self.layout.total;
        let (before, cells) = (self.columns.before_bar(), self.columns.bar);
        if total == 0 {
            return;
        }
        let mut axis = format!("{:before$}0", "");
        let mut mark = |at: usize, text: String| {
            let gap = (before + at).saturating_sub(width(&axis));
            axis.extend(std::iter::repeat_n(' ', gap));
            axis.push_str(&text);
        };
        if cells >= 40 {
            mark(cells / 2, human(total / 2));
        }
        let end = human(total);
        mark(cells - width(&end), end);
        self.line(&[(axis, DIM)]);
    }

    fn row(&mut self, place: usize, row: &Row<'_>) {
        let span = match row.item {
            Item::Span { span, .. } => span,
            Item::Missing(id) => {
                let note = format!("{}(missing parent {id})", self.guides(place));
                return self.line(&[(note, YELLOW)]);
            }
        };
        let service = self.service_color(span);
        let bar = if span.is_error() { RED } else { service };
        let columns = &self.columns;
        let guides = fit(&self.guides(place), columns.label).into_owned();
        let room = columns.label - width(&guides);
        let mark = if span.is_error() && room > 2 { "✗ " } else { "" };
        let room = room - width(mark);
        let label = pad(&fit(&visible(&span.name), room), room);
        let mut segments =
            vec![(guides, DIM), (mark.to_owned(), RED), (label, if span.is_error() { RED } else { PLAIN })];
        if columns.service > 0 {
            let name = visible(service_name(&span.service));
            segments.push((format!(" {}", pad(&fit(&name, columns.service), columns.service)), service));
        }
        segments.push((format!(" {:1$.1$}", kind(&span.kind), columns.kind), DIM));
        if columns.offset > 0 {
            let offset = span.start - self.layout.start;
            let offset = if offset == 0 { "+0".to_owned() } else { format!("+{}", human(offset)) };
            segments.push((format!(" {}", pad_left(&offset, columns.offset)), DIM));
        }
        segments.push((format!(" {} ", pad_left(&human(span.duration()), columns.duration)), PLAIN));
        self.bar(&mut segments, span, bar);
        self.line(&segments);
        self.details(place, row, span);
    }

    fn bar<'c>(&self, segments: &mut Vec<(String, &'c str)>, span: &Span, color: &'c str) {
        let start = self.layout.start;
        let events: Vec<u64> = span.events.iter().map(|event| event.time.saturating_sub(start)).collect();
        let bar = Bar {
            offset: span.start - start,
            duration: span.duration(),
            total: self.layout.total,
            events: &events,
        };
        for cell in bar.cells(self.columns.bar, self.color) {
            let (glyph, color) = match cell {
                Cell::Empty => (' ', PLAIN),
                Cell::Filled(glyph) => (glyph, color),
                Cell::Swapped(glyph) => (glyph, swapped(color)),
                Cell::Event => ('◆', YELLOW),
            };
            match segments.last_mut() {
                Some((run, same)) if *same == color => run.push(glyph),
                _ => segments.push((glyph.to_string(), color)),
            }
        }
    }

    fn details(&mut self, place: usize, row: &Row<'_>, span: &Span) {
        let indent = self.detail_guides(place);
        if let Some(error) = Layout::error(span) {
            self.detail(&indent, &format!("✗ {}", visible(&error)), RED);
        }
        for note in self.layout.oddities(row) {
            self.detail(&indent, &format!("! {note}"), YELLOW);
        }
        for link in &span.links {
            let mut parts = vec![format!("→ {}", self.target(link))];
            parts.extend(pairs(&link.attributes));
            self.wrapped(&indent, &parts, " ", DIM);
        }
        if self.style.events {
            for event in &span.events {
                let time = human(event.time.saturating_sub(self.layout.start));
                let mut parts = vec![format!("◆ +{time} {}", visible(&event.name))];
                parts.extend(pairs(&event.attributes));
                self.wrapped(&indent, &parts, " ", DIM);
            }
        }
        let attributes: Vec<String> =
            span.attributes.iter().filter(|(key, _)| self.style.shows(key)).map(pair).collect();
        if !attributes.is_empty() {
            self.wrapped(&indent, &attributes, "  ", DIM);
        }
    }

    /// Describes the target of a link: its name if it is in this trace, else the first eight digits of both ids.
    fn target(&self, link: &Link) -> String {
        let here = (link.trace_id == self.trace.id)
            .then(|| self.trace.spans.iter().find(|span| span.span_id == link.span_id))
            .flatten();
        match here {
            Some(span) => format!("link to {} in this trace", visible(&span.name)),
            None => format!("link to {:.8}/{:.8}", link.trace_id.to_string(), link.span_id.to_string()),
        }
    }

    /// Returns the guide lines from the row's ancestors to the row.
    fn guides(&self, place: usize) -> String {
        let row = &self.layout.rows[place];
        if row.depth == 0 {
            return String::new();
        }
        let mut out = self.passing(row.parent);
        out.push_str(if row.last { "└─ " } else { "├─ " });
        out
    }

    /// Returns the guide lines beside the details of the row.
    fn detail_guides(&self, place: usize) -> String {
        let mut out = self.passing(Some(place));
        out.push_str(if self.layout.has_children(place) { "│  " } else { "   " });
        out
    }

    /// Returns the guide lines of the row and its ancestors that continue downwards; in a deep tree, the innermost
    /// ones after the number of the others.
    fn passing(&self, mut place: Option<usize>) -> String {
        let depth = place.map_or(0, |place| self.layout.rows[place].depth);
        let cut = depth > self.columns.levels;
        let mut levels = Vec::new();
        for _ in 0..if cut { Columns::INNERMOST } else { depth } {
            let Some(row) = place.map(|place| &self.layout.rows[place]) else { break };
            levels.push(if row.last { "   " } else { "│  " });
            place = row.parent;
        }
        levels.reverse();
        let lines = levels.concat();
        if cut { format!("{}… {lines}", depth - Columns::INNERMOST) } else { lines }
    }

    fn service_color(&self, span: &Span) -> &'static str {
        SERVICES[self.layout.service_number(&span.service) % SERVICES.len()]
    }

    fn detail(&mut self, indent: &str, text: &str, color: &'static str) {
        let room = self.columns.width.saturating_sub(width(indent));
        self.line(&[(indent.to_owned(), DIM), (fit(text, room).into_owned(), color)]);
    }

    /// Writes parts one after the other, on as many lines as they need; a part wider than a line is cut.
    fn wrapped(&mut self, indent: &str, parts: &[String], separator: &str, color: &'static str) {
        let room = self.columns.width.saturating_sub(width(indent)).max(1);
        let mut line = String::new();
        for part in parts {
            let part = fit(part, room);
            if !line.is_empty() && width(&line) + width(separator) + width(&part) > room {
                self.detail(indent, &std::mem::take(&mut line), color);
            }
            if !line.is_empty() {
                line.push_str(separator);
            }
            line.push_str(&part);
        }
        self.detail(indent, &line, color);
    }

    /// Writes one line without trailing spaces.
    fn line(&mut self, segments: &[(String, &str)]) {
        let room = self.columns.width;
        let end =
            segments.iter().rposition(|(text, _)| !text.trim_end().is_empty()).map_or(0, |last| last + 1);
        let mut used = 0;
        for (place, (text, color)) in segments[..end].iter().enumerate() {
            let text = fit(text, room.saturating_sub(used));
            let text = if place + 1 == end { text.trim_end() } else { &text };
            used += width(text);
            if self.color && !color.is_empty() && !text.trim_end().is_empty() {
                let _ = write!(self.out, "\u{1b}[{color}m{text}\u{1b}[0m");
            } else {
                self.out.push_str(text);
            }
        }
        self.out.push('\n');
    }
}

/// Returns the SGR parameters for the colour with foreground and background swapped.
fn swapped(color: &str) -> &'static str {
    match color {
        RED => "7;31",
        "32" => "7;32",
        "33" => "7;33",
        "34" => "7;34",
        "35" => "7;35",
        "36" => "7;36",
        _ => "7;96",
    }
}

fn pair((key, value): &(String, String)) -> String {
    format!("{}={}", visible(key), visible(value))
}

fn pairs(attributes: &[(String, String)]) -> impl Iterator<Item = String> {
    attributes.iter().map(pair)
}

fn pad(text: &str, cells: usize) -> String {
    let mut out = text.to_owned();
    out.extend(std::iter::repeat_n(' ', cells.saturating_sub(width(text))));
    out
}

fn pad_left(text: &str, cells: usize) -> String {
    let mut out = " ".repeat(cells.saturating_sub(width(text)));
    out.push_str(text);
    out
}

/// Returns the kind in lower case.
pub(crate) fn kind(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
    }
}
