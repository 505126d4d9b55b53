//! A receiver of the spans of services and sidecars, as OTLP and as Zipkin's JSON, and their tree as text.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A span. Ids are hexadecimal; that of the parent of a root is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) service: String,
    pub(crate) kind: String,
}

/// The spans that were received. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
    arrived: Arc<Notify>,
}

impl Receiver {
    /// Starts to receive, and returns the port.
    pub(crate) async fn start(&self) -> Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let app = Router::new()
            .route("/v1/traces", post(otlp))
            .route("/api/v2/spans", post(zipkin))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(port)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.lock().clone()
    }

    /// Waits until the spans have this property.
    pub(crate) async fn wait_until(&self, mut has: impl FnMut(&[Span]) -> bool) {
        loop {
            let arrived = self.arrived.notified();
            if has(&self.lock()) {
                return;
            }
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, spans: impl IntoIterator<Item = Span>) {
        self.lock().extend(spans);
        // One waits at a time; a notification without a waiter is kept for the next.
        self.arrived.notify_one();
    }
}

async fn otlp(State(receiver): State<Receiver>, body: Bytes) -> Result<(), StatusCode> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let of_resources = request.resource_spans.into_iter().flat_map(|resource| {
        let service = service(resource.resource.as_ref());
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Span {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            service: service.clone(),
            kind: match span.kind() {
                SpanKind::Server => "server",
                SpanKind::Client => "client",
                _ => "internal",
            }
            .to_owned(),
        })
    });
    receiver.extend(of_resources);
    Ok(())
}

async fn zipkin(State(receiver): State<Receiver>, Json(spans): Json<Vec<Value>>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    receiver.extend(spans.iter().map(|span| Span {
        trace: text(&span["traceId"]),
        id: text(&span["id"]),
        parent: text(&span["parentId"]),
        service: text(&span["localEndpoint"]["serviceName"]),
        kind: text(&span["kind"]).to_lowercase(),
    }));
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let name = attributes.iter().find(|attribute| attribute.key == "service.name");
    match name.and_then(|name| name.value.as_ref()?.value.as_ref()) {
        Some(AttributeValue::StringValue(name)) => name.clone(),
        _ => String::new(),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Renders the spans as a tree: a line for each, one dot for each span above it, siblings in the order of their text. A span
/// whose parent is not among them is at the top, behind the name of that parent in `callers`.
pub(crate) fn render(spans: &[Span], callers: &[(&str, &str)]) -> String {
    let ids: BTreeSet<_> = spans.iter().map(|span| &*span.id).collect();
    let mut trees: Vec<_> = spans
        .iter()
        .filter(|span| !ids.contains(&*span.parent))
        .map(|span| {
            let caller =
                callers.iter().find(|(id, _)| *id == span.parent).map_or("unknown", |(_, name)| name);
            let above = if span.parent.is_empty() { String::new() } else { format!("below {caller}: ") };
            above + &subtree(spans, span, 0)
        })
        .collect();
    trees.sort();
    let traces: BTreeSet<_> = spans.iter().map(|span| &*span.trace).collect();
    if traces.len() > 1 {
        trees.push(format!("{} traces\n", traces.len()));
    }
    trees.concat()
}

fn subtree(spans: &[Span], span: &Span, depth: usize) -> String {
    let children = spans.iter().filter(|below| below.parent == span.id && below.trace == span.trace);
    let mut children: Vec<_> = children.map(|below| subtree(spans, below, depth + 1)).collect();
    children.sort();
    format!("{}{} {}\n{}", ". ".repeat(depth), span.service, span.kind, children.concat())
}

#[cfg(test)]
mod tests {
    use super::{Span, render};

    fn span(trace: &str, id: &str, parent: &str) -> Span {
        let (trace, id, parent) = (trace.to_owned(), id.to_owned(), parent.to_owned());
        Span { trace, service: format!("of-{id}"), id, parent, kind: "server".to_owned() }
    }

    #[test]
    fn spans_are_a_tree() {
        let spans = [span("1", "c", "b"), span("1", "b", "a"), span("1", "a", "")];
        assert_eq!(render(&spans, &[]), "of-a server\n. of-b server\n. . of-c server\n");
        assert_eq!(render(&[], &[]), "");
    }

    #[test]
    fn a_parent_elsewhere_is_named() {
        assert_eq!(render(&[span("1", "a", "x")], &[("x", "the caller")]), "below the caller: of-a server\n");
        assert_eq!(render(&[span("1", "a", "y")], &[("x", "the caller")]), "below unknown: of-a server\n");
        assert_eq!(
            render(&[span("2", "b", ""), span("1", "a", "")], &[]),
            "of-a server\nof-b server\n2 traces\n"
        );
    }
}
