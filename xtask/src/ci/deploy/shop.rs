//! The shop's telemetry in the backends: its traces, the panels of the dashboard, and an alert.

use std::{collections::BTreeMap, fs, sync::LazyLock, time::Duration};

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::{
    ci::{
        deploy::{
            COMPOSE,
            backends::{Backends, wait_for},
        },
        steps::build_cargo,
    },
    process::{captured_within, run},
    repo::Repo,
    services::Lease,
    tidy,
};

/// The servers of the shop.
const SERVERS: &[&str] = &["kafka", "nats", "rabbitmq", "postgres"];

/// The number of orders. The second one fails, and the payment service hangs in the third and the fourth.
const ORDERS: usize = 8;

/// The longest time of a run, which takes half a minute.
const RUN: Duration = Duration::from_secs(5 * 60);

/// The numbers of spans of traces that the shop has printed.
pub(super) struct Printed {
    /// The trace that was printed while services were running, so that spans may follow.
    pub(super) first: (String, usize),
    pub(super) others: BTreeMap<String, usize>,
}

#[expect(clippy::unwrap_used, reason = "a constant expression, which the tests compile")]
static TRACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^trace ([0-9a-f]{32}) · .* · (\d+) spans").unwrap());

/// Places orders, with all telemetry sent to the Collector as well.
pub(super) fn run_shop(repo: &Repo, backends: &Backends) -> Result<Printed> {
    run(build_cargo(repo).args(["build", "--package", "shop", "--bins"]))?;
    let lease = Lease::take(&repo.root, SERVERS)?;
    let mut demo = build_cargo(repo);
    demo.args(["run", "--quiet", "--package", "shop", "--bin", "shop-demo", "--"]);
    demo.args(["--orders", &ORDERS.to_string(), "--otlp", &backends.collector.otlp]);
    let output = captured_within(demo.envs(lease.variables()), RUN)?;
    printed(&output).context("the shop printed no four traces")
}

fn printed(output: &str) -> Option<Printed> {
    let mut traces =
        TRACE.captures_iter(output).filter_map(|found| Some((found[1].to_owned(), found[2].parse().ok()?)));
    let printed = Printed { first: traces.next()?, others: traces.collect() };
    (printed.others.len() == 3).then_some(printed)
}

/// Panels whose subject the shop lacks, or that stay empty while nothing fails: an expression with one of these texts may have no
/// data.
const EMPTY: &[&str] = &[
    // Nothing fails.
    "http_server_request_duration_seconds_count{job=~\".*\", error_type",
    "http_client_request_duration_seconds_count{job=~\".*\", error_type",
    "rpc_server_call_duration_seconds_count{job=~\".*\", error_type",
    "messaging_client_operation_duration_seconds_count{job=~\".*\", error_type",
    "messaging_process_duration_seconds_count{job=~\".*\", error_type",
    "db_client_operation_duration_seconds_count{job=~\".*\", error_type",
    "otel_sdk_processor_span_processed_total{job=~\".*\", error_type",
    "otel_sdk_exporter_span_exported_total{job=~\".*\", error_type",
    "otelcol_receiver_refused_spans",
    "otelcol_exporter_send_failed_spans",
    "_context_left_out_total",
    "saga_step_retries_total",
    "saga_recoveries_total",
    "saga_journal_conflicts_total",
    "db_client_connection_timeouts_total",
    "resilience_refused_calls_total",
    "resilience_retry_exhausted_calls_total",
    "resilience_circuit_breaker_transitions_total",
    // Opt-in, or of another program.
    "rpc_server_active_calls",
    "rpc_server_open_streams",
    "messaging_kafka_consumer_lag",
    "messaging_kafka_producer_queue_time_seconds",
    "twopc_",
];

/// Every expression of the dashboard is valid, and has data after the orders.
pub(super) fn dashboard_has_data(repo: &Repo, backends: &Backends) -> Result<()> {
    let path = repo.root.join(COMPOSE).join("grafana/dashboards/services.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let expressions = tidy::dashboard_expressions(&text);
    let mut empty = 0;
    for expression in &expressions {
        let expression = expression.replace("$job", ".*").replace("$__rate_interval", "5m");
        if EMPTY.iter().any(|text| expression.contains(text)) {
            backends.query(&expression)?;
            empty += 1;
        } else {
            wait_for(&format!("data of `{expression}`"), || match backends.query(&expression)?[..] {
                [] => bail!("it has no series"),
                _ => Ok(()),
            })?;
        }
    }
    println!("{} expressions of the dashboard, {empty} of them may be empty", expressions.len());
    let placed = r#"sum(http_server_request_duration_seconds_count{job="gateway", http_route="/orders"})"#;
    wait_for("the number of orders in Prometheus", || match backends.query(placed)?[..] {
        [(_, count)] if (count - ORDERS as f64).abs() < 0.5 => Ok(()),
        ref other => bail!("{other:?} instead of {ORDERS}"),
    })
}

/// The alert of slow requests: the payment service hangs in an order, until the call is repeated at another instance.
pub(super) fn alert_of_slow_requests(backends: &Backends) -> Result<()> {
    let alert = r#"ALERTS{alertname="HttpServerSlow", alertstate="firing", job="gateway"}"#;
    wait_for("alert of slow requests", || match backends.query(alert)?.len() {
        1 => Ok(()),
        count => bail!("{count} alerts"),
    })
}

/// The alert of a Collector that was stopped.
pub(super) fn alert_of_a_stopped_collector(backends: &Backends) -> Result<()> {
    let alert = r#"ALERTS{alertname="CollectorDown", alertstate="firing"}"#;
    if !backends.query(alert)?.is_empty() {
        bail!("CollectorDown fires while the Collector runs");
    }
    backends.collector.running.stop()?;
    wait_for("alerts of both targets", || match backends.query(alert)?.len() {
        2 => Ok(()),
        count => bail!("{count} alerts"),
    })
}

#[cfg(test)]
mod tests {
    use super::printed;

    #[test]
    fn printed_traces_are_read() {
        let line = |digit: &str, spans: &str| {
            format!("trace {} · 1.27 s · {spans} spans · 1 error\n  GET\n", digit.repeat(32))
        };
        let text = [line("a", "31"), line("b", "9"), line("c", "40"), line("d", "41")].concat();
        let found = printed(&format!("the services are ready\n{text}")).unwrap();
        assert_eq!(found.first, ("a".repeat(32), 31));
        assert_eq!(found.others.values().copied().collect::<Vec<_>>(), [9, 40, 41]);
        assert!(printed(&line("a", "31")).is_none());
    }
}
