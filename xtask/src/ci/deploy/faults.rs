//! The faults behind the alerts, as the metrics that a service records then. They go through the Collector to Prometheus, so that the
//! names in the alerts are those that the exporter makes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::ci::deploy::backends::{Backends, wait_for};

/// The service that records the faults.
const SERVICE: &str = "fault";

/// One series of a metric that makes an alert fire.
struct Fault {
    alert: &'static str,
    metric: &'static str,
    kind: Kind,
    attributes: &'static [(&'static str, &'static str)],
    value: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    /// With its unit.
    Gauge(&'static str),
    Counter(&'static str),
    /// Durations over a second.
    Durations,
}

use Kind::{Counter, Durations, Gauge};

const fn fault(
    alert: &'static str,
    metric: &'static str,
    kind: Kind,
    attributes: &'static [(&'static str, &'static str)],
    value: u32,
) -> Fault {
    Fault { alert, metric, kind, attributes, value }
}

const FAILED: (&str, &str) = ("error.type", "_OTHER");

const FAULTS: &[Fault] = &[
    fault(
        "HttpServerErrors",
        "http.server.request.duration",
        Durations,
        &[("http.response.status_code", "502")],
        9,
    ),
    fault("HttpServerSlow", "http.server.request.duration", Durations, &[("http.route", "/slow")], 9),
    fault(
        "HttpClientErrors",
        "http.client.request.duration",
        Durations,
        &[FAILED, ("server.address", "x")],
        9,
    ),
    fault("RpcServerErrors", "rpc.server.call.duration", Durations, &[FAILED], 9),
    fault("RpcClientErrors", "rpc.client.call.duration", Durations, &[FAILED, ("rpc.method", "a/B")], 9),
    fault(
        "MessageProcessingErrors",
        "messaging.process.duration",
        Durations,
        &[FAILED, ("messaging.destination.name", "t")],
        9,
    ),
    fault(
        "MessageSendErrors",
        "messaging.client.operation.duration",
        Durations,
        &[FAILED, ("messaging.operation.type", "send"), ("messaging.system", "nats")],
        9,
    ),
    fault("KafkaConsumerLag", "messaging.kafka.consumer.lag", Gauge("{message}"), &[], 1500),
    fault("MessageContextLeftOut", "messaging.kafka.context.left_out", Counter("{message}"), &[], 1),
    fault("SagaStuck", "saga.oldest.age", Gauge("s"), &[("saga.name", "s")], 400),
    fault("SagaParked", "saga.instances", Gauge("{saga}"), &[("saga.state", "parked")], 1),
    fault(
        "SagaCompensations",
        "saga.duration",
        Durations,
        &[("saga.outcome", "compensated"), ("saga.name", "s")],
        9,
    ),
    fault("SagaJournalErrors", "saga.journal.append.duration", Durations, &[FAILED], 1),
    fault("TwoPhaseCommitInDoubt", "twopc.in_doubt.age", Gauge("s"), &[("twopc.name", "t")], 400),
    fault(
        "TwoPhaseCommitHeuristics",
        "twopc.heuristics",
        Counter("{participant}"),
        &[("twopc.participant", "p")],
        1,
    ),
    fault("DatabaseErrors", "db.client.operation.duration", Durations, &[FAILED, ("db.system.name", "x")], 9),
    fault("DatabasePoolExhausted", "db.client.connection.timeouts", Counter("{timeout}"), &[], 1),
    fault(
        "CircuitBreakerOpened",
        "resilience.circuit_breaker.transitions",
        Counter("{transition}"),
        &[("resilience.circuit_breaker.state", "open")],
        1,
    ),
    fault("RetriesExhausted", "resilience.retry.exhausted_calls", Counter("{call}"), &[], 1),
    fault("DiscoveryStale", "discovery.staleness", Gauge("s"), &[], 90),
    fault(
        "NoEndpoint",
        "discovery.endpoints",
        Gauge("{endpoint}"),
        &[("discovery.endpoint.state", "available")],
        0,
    ),
    fault(
        "SpansDropped",
        "otel.sdk.processor.span.processed",
        Counter("{span}"),
        &[("error.type", "queue_full")],
        1,
    ),
    fault("SpanExportErrors", "otel.sdk.exporter.span.exported", Counter("{span}"), &[FAILED], 1),
    fault("LogRecordsDropped", "otel.sdk.exporter.log.exported", Counter("{log_record}"), &[FAILED], 1),
    fault("SpanQueueFilling", "otel.sdk.processor.span.queue.size", Gauge("{span}"), &[], 2000),
    fault("SpanQueueFilling", "otel.sdk.processor.span.queue.capacity", Gauge("{span}"), &[], 2048),
];

/// Each alert on metrics of services fires.
pub(super) fn alerts_fire(backends: &Backends) -> Result<()> {
    let start = nanoseconds()?;
    // A rate needs two samples: before the fault, and after it.
    backends.collector.send("/v1/metrics", &export(start, start, 0))?;
    let scraped = format!(r#"count(target_info{{job="{SERVICE}"}})"#);
    wait_for("metrics of the service with faults", || match backends.query(&scraped)?.is_empty() {
        true => bail!("it has no series"),
        false => Ok(()),
    })?;
    backends.collector.send("/v1/metrics", &export(start, nanoseconds()?, 1))?;
    for Fault { alert, .. } in FAULTS {
        let firing = format!(r#"ALERTS{{alertname="{alert}", alertstate="firing", job=~"|{SERVICE}"}}"#);
        wait_for(&format!("alert {alert}"), || match backends.query(&firing)?.is_empty() {
            true => bail!("it does not fire"),
            false => Ok(()),
        })?;
    }
    Ok(())
}

fn nanoseconds() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}

/// All metrics, with their values multiplied.
fn export(start: u128, now: u128, factor: u32) -> Value {
    let attribute = |name: &str, value: &str| json!({ "key": name, "value": { "stringValue": value } });
    let metrics = FAULTS.iter().map(|Fault { metric, kind, attributes, value, .. }| {
        let value = value * factor;
        let mut point = json!({
            "attributes": attributes.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
            "startTimeUnixNano": start.to_string(),
            "timeUnixNano": now.to_string(),
        });
        match kind {
            Gauge(unit) => {
                point["asDouble"] = json!(value);
                json!({ "name": metric, "unit": unit, "gauge": { "dataPoints": [point] } })
            }
            Counter(unit) => {
                point["asDouble"] = json!(value);
                let sum = json!({ "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point] });
                json!({ "name": metric, "unit": unit, "sum": sum })
            }
            Durations => {
                point["count"] = json!(value.to_string());
                point["sum"] = json!(f64::from(value) * 5.0);
                point["explicitBounds"] = json!([1, 10]);
                point["bucketCounts"] = json!(["0", value.to_string(), "0"]);
                let histogram = json!({ "aggregationTemporality": 2, "dataPoints": [point] });
                json!({ "name": metric, "unit": "s", "histogram": histogram })
            }
        }
    });
    let resource = [attribute("service.name", SERVICE), attribute("service.instance.id", "1")];
    let scope = json!({ "scope": { "name": "xtask" }, "metrics": metrics.collect::<Vec<_>>() });
    json!({ "resourceMetrics": [{ "resource": { "attributes": resource }, "scopeMetrics": [scope] }] })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::FAULTS;
    use crate::{ci::deploy::COMPOSE, repo::Repo};

    /// Of these the fault is a stopped program, or one that lasts.
    const OTHERS: &[&str] = &[
        "CollectorDown",
        "CollectorExportErrors",
        "CollectorRefusesSpans",
        "ServiceSilent",
        "TracesDroppedTooEarly",
    ];

    #[test]
    fn every_alert_has_a_fault() {
        let path = Repo::open().unwrap().root.join(COMPOSE).join("prometheus/alerts.yaml");
        let text = fs::read_to_string(path).unwrap();
        let alerts: BTreeSet<_> =
            text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
        let faults: BTreeSet<_> =
            FAULTS.iter().map(|fault| fault.alert).chain(OTHERS.iter().copied()).collect();
        assert_eq!(alerts, faults);
    }
}
