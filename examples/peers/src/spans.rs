//! A span as this program compares it, and the trees of such spans as text.

use opentelemetry::SpanId;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use serde::Deserialize;

/// A finished span. A peer writes these fields, but for the first, as a line of JSON.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Span {
    #[serde(skip, default = "peer")]
    side: &'static str,
    pub(crate) trace_id: String,
    span_id: String,
    parent_id: String,
    kind: String,
    error: bool,
    tenant: String,
    /// The ids of the spans that it links to. Servers and clients have none.
    #[serde(default)]
    links: Vec<String>,
}

fn peer() -> &'static str {
    "peer"
}

impl Span {
    pub(crate) fn ours(span: &SpanData) -> Self {
        let tenant = span.attributes.iter().find(|attribute| attribute.key.as_str() == "tenant");
        Self {
            side: "ours",
            trace_id: span.span_context.trace_id().to_string(),
            span_id: span.span_context.span_id().to_string(),
            parent_id: span.parent_span_id.to_string(),
            kind: format!("{:?}", span.span_kind).to_lowercase(),
            error: matches!(span.status, Status::Error { .. }),
            tenant: tenant.map(|attribute| attribute.value.to_string()).unwrap_or_default(),
            links: span.links.iter().map(|link| link.span_context.span_id().to_string()).collect(),
        }
    }

    fn line(&self) -> String {
        let error = if self.error { " error" } else { "" };
        let tenant = if self.tenant.is_empty() { String::new() } else { format!(" tenant={}", self.tenant) };
        let linked = if self.links.contains(&self.parent_id) { " linked" } else { "" };
        format!("{} {}{error}{linked}{tenant}\n", self.side, self.kind)
    }
}

/// The spans as a tree below `root`, each generation with one more dot, and after it the spans that are not below.
pub(crate) fn render(spans: &[Span], root: SpanId) -> String {
    let mut text = String::new();
    let mut rendered = 0;
    let mut open = vec![(root.to_string(), 0)];
    while let Some((parent, depth)) = open.pop() {
        for span in spans.iter().filter(|span| span.parent_id == parent) {
            text += &". ".repeat(depth);
            text += &span.line();
            rendered += 1;
            open.push((span.span_id.clone(), depth + 1));
        }
    }
    if rendered < spans.len() {
        text += &format!("spans elsewhere: {}\n", spans.len() - rendered);
    }
    text
}

#[cfg(test)]
mod tests {
    use opentelemetry::SpanId;

    use super::{Span, render};

    fn span(id: u64, parent: u64, kind: &str) -> Span {
        Span {
            side: "ours",
            trace_id: String::new(),
            span_id: SpanId::from(id).to_string(),
            parent_id: SpanId::from(parent).to_string(),
            kind: kind.to_owned(),
            error: id == 3,
            tenant: if id == 2 { "acme".to_owned() } else { String::new() },
            links: vec![SpanId::from(2).to_string()],
        }
    }

    #[test]
    fn spans_are_a_tree_below_the_root() {
        let spans = [span(3, 2, "client"), span(2, 1, "server")];
        assert_eq!(render(&spans, SpanId::from(1)), "ours server tenant=acme\n. ours client error linked\n");
        assert_eq!(render(&[], SpanId::from(1)), "");
    }

    #[test]
    fn a_span_without_its_parent_is_counted() {
        let spans = [span(2, 1, "client"), span(4, 9, "server")];
        assert_eq!(render(&spans, SpanId::from(1)), "ours client tenant=acme\nspans elsewhere: 1\n");
    }
}
