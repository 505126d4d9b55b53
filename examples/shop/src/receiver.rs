//! A receiver of OTLP over HTTP, for the spans and metrics of all services.
//!
//! Follows [OTLP, "OTLP/HTTP"](https://opentelemetry.io/docs/specs/otlp/#otlphttp), in its binary encoding.

use std::collections::HashSet;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogsData, ResourceLogs};
use opentelemetry_proto::tonic::metrics::v1::{MetricsData, ResourceMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, TracesData};
use otel_waterfall::{Page, Trace};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};

use crate::Failure;

/// The timeout of a request to the collector of the user.
const FORWARD: Duration = Duration::from_secs(5);

/// A running receiver. Clones share what it has received.
#[derive(Clone, Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<ResourceSpans>,
    /// The last export of each process, whose sums are cumulative.
    metrics: Vec<ResourceMetrics>,
    logs: Vec<ResourceLogs>,
    /// A collector that gets all of it as well.
    forward: Option<String>,
    forwards: JoinSet<Result<(), String>>,
    refusals: Refusals,
}

/// The requests that the collector did not take.
#[derive(Debug, Default)]
struct Refusals {
    count: usize,
    first: Option<String>,
}

impl Refusals {
    fn add(&mut self, forwarded: Result<Result<(), String>, JoinError>) {
        if let Err(error) = forwarded.map_err(|error| error.to_string()).flatten() {
            self.count += 1;
            self.first.get_or_insert(error);
        }
    }
}

impl Receiver {
    /// Starts to receive. All requests are also sent on to the collector `forward`, such as `http://localhost:4318`.
    ///
    /// # Errors
    /// Returns an error if no socket can be opened.
    pub async fn start(forward: Option<String>) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(Received { forward, ..Received::default() }));
        let receiver = Self { address, received };
        let app = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .route("/v1/logs", post(logs))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(receiver)
    }

    /// Returns the endpoint for exporters.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the traces that were received.
    ///
    /// # Errors
    /// Returns an error if the spans cannot be converted.
    pub fn traces(&self) -> Result<Vec<Trace>, Failure> {
        let data = TracesData { resource_spans: self.lock().spans.clone() };
        Ok(otel_waterfall::from_otlp_json(&serde_json::to_string(&data)?)?)
    }

    /// Returns a page with all signals.
    ///
    /// # Errors
    /// Returns an error if a signal cannot be converted.
    pub fn page(&self) -> Result<Page, Failure> {
        let received = self.lock();
        let mut page = Page::new();
        page.add_otlp_json(&serde_json::to_string(&TracesData { resource_spans: received.spans.clone() })?)?;
        page.add_otlp_json(&serde_json::to_string(&MetricsData {
            resource_metrics: received.metrics.clone(),
        })?)?;
        page.add_otlp_json(&serde_json::to_string(&LogsData { resource_logs: received.logs.clone() })?)?;
        Ok(page)
    }

    /// Returns all spans, each with the name of its service.
    #[must_use]
    pub fn spans(&self) -> Vec<(String, Span)> {
        self.lock().spans.iter().cloned().flat_map(of_resource).collect()
    }

    /// Removes all spans, and returns them, each with the name of its service.
    #[must_use]
    pub fn take_spans(&self) -> Vec<(String, Span)> {
        let spans = std::mem::take(&mut self.lock().spans);
        spans.into_iter().flat_map(of_resource).collect()
    }

    /// Returns the metrics of the last export of each process.
    #[must_use]
    pub fn metrics(&self) -> Vec<ResourceMetrics> {
        self.lock().metrics.clone()
    }

    /// Returns true if the trace has a span of this service and name, and the parent of each span but the root.
    #[must_use]
    pub fn is_complete(&self, trace: &str, last: (&str, &str)) -> bool {
        let spans: Vec<_> =
            self.spans().into_iter().filter(|(_, span)| hex(&span.trace_id) == trace).collect();
        let ids: HashSet<_> = spans.iter().map(|(_, span)| span.span_id.clone()).collect();
        let has_parent = |span: &Span| span.parent_span_id.is_empty() || ids.contains(&span.parent_span_id);
        spans.iter().any(|(service, span)| (&**service, &*span.name) == last)
            && spans.iter().all(|(_, span)| has_parent(span))
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the collector of the user has all requests.
    ///
    /// # Errors
    /// Returns the number of requests that it did not take, and the first error.
    pub async fn forwarded(&self) -> Result<(), String> {
        let mut forwards = std::mem::take(&mut self.lock().forwards);
        while let Some(forwarded) = forwards.join_next().await {
            self.lock().refusals.add(forwarded);
        }
        match std::mem::take(&mut self.lock().refusals) {
            Refusals { count, first: Some(error) } => {
                Err(format!("the collector did not take {count} requests: {error}"))
            }
            Refusals { first: None, .. } => Ok(()),
        }
    }

    /// Sends a request on to the collector of the user.
    fn forward(&self, path: &'static str, body: Bytes) {
        let mut received = self.lock();
        let Received { forward: Some(url), forwards, refusals, .. } = &mut *received else { return };
        while let Some(forwarded) = forwards.try_join_next() {
            refusals.add(forwarded);
        }
        let request = reqwest::Client::new().post(format!("{url}{path}")).timeout(FORWARD);
        let request = request.header("content-type", "application/x-protobuf").body(body);
        forwards.spawn(async move {
            let answer = request.send().await.and_then(reqwest::Response::error_for_status);
            answer.map(drop).map_err(|error| with_causes(&error))
        });
    }
}

/// Returns the messages of an error and of its causes.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn of_resource(resource: ResourceSpans) -> impl Iterator<Item = (String, Span)> {
    let service = service(resource.resource.as_ref());
    let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(move |span| (service.clone(), span))
}

/// Returns the hexadecimal form of an id.
#[must_use]
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a string attribute of a resource.
fn attribute(resource: Option<&Resource>, key: &str) -> Option<String> {
    let attribute = resource?.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(value) => Some(value.clone()),
        _ => None,
    }
}

/// Returns the name of a resource's service.
#[must_use]
pub fn service(resource: Option<&Resource>) -> String {
    attribute(resource, "service.name").unwrap_or_default()
}

async fn traces(State(receiver): State<Receiver>, body: Bytes) -> Result<(), StatusCode> {
    let request = ExportTraceServiceRequest::decode(body.clone()).map_err(|_| StatusCode::BAD_REQUEST)?;
    receiver.lock().spans.extend(request.resource_spans);
    receiver.forward("/v1/traces", body);
    Ok(())
}

async fn metrics(State(receiver): State<Receiver>, body: Bytes) -> Result<(), StatusCode> {
    let request = ExportMetricsServiceRequest::decode(body.clone()).map_err(|_| StatusCode::BAD_REQUEST)?;
    let instance = |metrics: &ResourceMetrics| attribute(metrics.resource.as_ref(), "service.instance.id");
    let mut received = receiver.lock();
    for new in request.resource_metrics {
        received.metrics.retain(|former| instance(former) != instance(&new));
        received.metrics.push(new);
    }
    drop(received);
    receiver.forward("/v1/metrics", body);
    Ok(())
}

async fn logs(State(receiver): State<Receiver>, body: Bytes) -> Result<(), StatusCode> {
    let request = ExportLogsServiceRequest::decode(body.clone()).map_err(|_| StatusCode::BAD_REQUEST)?;
    receiver.lock().logs.extend(request.resource_logs);
    receiver.forward("/v1/logs", body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Receiver;

    async fn forwarded(collector: String) -> Result<(), String> {
        let receiver = Receiver::start(Some(collector)).await.unwrap();
        for _ in 0..2 {
            let request = reqwest::Client::new().post(format!("{}/v1/traces", receiver.endpoint()));
            assert!(request.send().await.unwrap().status().is_success());
        }
        receiver.forwarded().await
    }

    #[tokio::test]
    async fn what_the_collector_did_not_take_is_reported() {
        let collector = Receiver::start(None).await.unwrap().endpoint();
        assert_eq!(forwarded(collector.clone()).await, Ok(()));
        let wrong_path = forwarded(format!("{collector}/otlp")).await.unwrap_err();
        assert!(wrong_path.starts_with("the collector did not take 2 requests: "), "{wrong_path}");
        assert!(wrong_path.contains("404"), "{wrong_path}");
        // Nothing listens on port 1.
        let absent = forwarded("http://127.0.0.1:1".to_owned()).await.unwrap_err();
        assert!(absent.contains("refused"), "{absent}");
    }
}
