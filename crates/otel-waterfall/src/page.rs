//! The page: one self-contained HTML file with its data, style and script.
//!
//! The script is plain modules in `page/web`. They are joined here, because a file that is opened without a server
//! cannot import others. A [content security policy](https://www.w3.org/TR/CSP3/) permits this one script and this
//! one style by their hashes, and no network.

pub(crate) mod encode;
mod json;
pub(crate) mod summary;

use std::{fmt::Write, sync::LazyLock};

use self::summary::Summary;
use crate::{
    model::Trace,
    otlp::{Error, read_signals},
    signals::{LogRecord, MetricStore, Signals},
};

/// The hashes of [`SCRIPT`] and [`STYLE`]; a test computes them.
pub(crate) const SCRIPT_HASH: &str = include_str!("page/script.sha256");
pub(crate) const STYLE_HASH: &str = include_str!("page/style.sha256");

pub(crate) const STYLE: &str = include_str!("page/web/page.css");

/// The modules in an order in which each comes after those that it imports.
const MODULES: [&str; 11] = [
    include_str!("page/web/format.js"),
    include_str!("page/web/dom.js"),
    include_str!("page/web/tree.js"),
    include_str!("page/web/store.js"),
    include_str!("page/web/list.js"),
    include_str!("page/web/details.js"),
    include_str!("page/web/waterfall.js"),
    include_str!("page/web/map.js"),
    include_str!("page/web/metrics.js"),
    include_str!("page/web/logs.js"),
    include_str!("page/web/app.js"),
];

/// All modules as one: imports, each on one line, are left out, and so is the word `export`.
pub(crate) static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let mut out = String::from("\n");
    for line in MODULES.iter().flat_map(|module| module.lines()).filter(|line| !line.starts_with("import ")) {
        out.push_str(line.strip_prefix("export ").unwrap_or(line));
        out.push('\n');
    }
    out
});

/// The content of a page: traces, log records and metrics.
///
/// ```
/// let mut page = otel_waterfall::Page::new();
/// page.add_otlp_json(r#"{"resourceLogs": []}"#)?;
/// assert!(page.html().starts_with("<!DOCTYPE html>"));
/// # Ok::<(), otel_waterfall::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Page {
    traces: Vec<Trace>,
    logs: Vec<LogRecord>,
    metrics: MetricStore,
}

impl Page {
    /// Creates a page without content.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds traces.
    #[must_use]
    pub fn with_traces(mut self, traces: impl IntoIterator<Item = Trace>) -> Self {
        self.traces.extend(traces);
        self
    }

    /// Adds the spans, log records and metrics of OTLP JSON documents, one after the other, as the collector's file
    /// exporter writes them. Spans of a trace that the page has already are added to it.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not JSON or is empty, or if a field that is read does not conform to OTLP; the
    /// error names the field. Nothing is added then.
    pub fn add_otlp_json(&mut self, text: &str) -> Result<(), Error> {
        let Signals { spans, logs, points } = read_signals(text)?;
        let known = std::mem::take(&mut self.traces);
        let mut traces = Trace::group(spans);
        for mut trace in known {
            if let Some(more) = traces.iter().position(|one| one.id == trace.id) {
                trace.spans.append(&mut traces.remove(more).spans);
            }
            self.traces.push(trace);
        }
        self.traces.append(&mut traces);
        self.logs.extend(logs);
        for point in points {
            self.metrics.add(point);
        }
        Ok(())
    }

    /// Returns the traces.
    #[must_use]
    pub fn traces(&self) -> &[Trace] {
        &self.traces
    }

    /// Renders the page as one HTML document that needs nothing else. All data are escaped; a text over 16 KiB is cut.
    #[must_use]
    pub fn html(&self) -> String {
        render(&self.traces, |data| {
            data.push_str(",\"logs\":");
            encode::logs(data, &self.logs);
            data.push_str(",\"metrics\":");
            encode::metrics(data, &self.metrics);
        })
    }
}

/// Renders the traces as one self-contained page; the same as [`Page`] with only these traces.
#[must_use]
pub fn html(traces: &[Trace]) -> String {
    render(traces, |_| {})
}

fn render(traces: &[Trace], more: impl FnOnce(&mut String)) -> String {
    let mut data = String::from("{\"traces\":");
    json::array(&mut data, traces, |out, trace| encode::trace(out, trace, &Summary::new(trace), 0, true));
    more(&mut data);
    data.push('}');
    document(&data, "'none'")
}

/// Returns the document around its data, which are JSON without `<`. The script may connect to `connect`.
pub(crate) fn document(data: &str, connect: &str) -> String {
    let mut out = String::with_capacity(data.len() + SCRIPT.len() + STYLE.len() + 2_000);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>Traces</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header class=\"top\"></header>\n<main></main>\n\
         <noscript>This page draws its data by a script, which is switched off.</noscript>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script type=\"module\">{}</script>\n</body>\n</html>\n",
        policy(connect),
        *SCRIPT,
    );
    out
}

/// Returns the content security policy: this script, this style, no markup from text, no network but `connect`.
pub(crate) fn policy(connect: &str) -> String {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src {connect}; \
         base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        SCRIPT_HASH.trim(),
        STYLE_HASH.trim(),
    )
}

#[cfg(test)]
mod tests;
