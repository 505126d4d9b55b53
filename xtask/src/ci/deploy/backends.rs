//! The Collector, Jaeger and Prometheus with the configurations of `deploy/compose`, on ports that are free.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    ci::deploy::{COMPOSE, collector::Collector},
    process::program,
    services::{probe, running::Running},
};

/// The longest wait for data that is on its way.
const PATIENCE: Duration = Duration::from_secs(60);

/// The programs that were built.
pub(super) struct Programs {
    pub(super) collector: PathBuf,
    pub(super) jaeger: PathBuf,
}

/// The running backends. Prometheus is stopped first, because it reads from the Collector, which sends to Jaeger.
pub(super) struct Backends {
    _prometheus: Running,
    pub(super) collector: Collector,
    /// A second Collector that keeps no share of the traces: the other policies decide.
    pub(super) sampler: Collector,
    _jaeger: Running,
    jaeger_api: String,
    prometheus_api: String,
}

impl Backends {
    pub(super) fn start(root: &Path, programs: &Programs) -> Result<Self> {
        let folder = |name: &str| root.join("target/deploy").join(name);
        let config = |name: &str| root.join(COMPOSE).join(name);
        let addresses: [String; 4] = probe::free_ports()?.map(|port| format!("127.0.0.1:{port}"));
        let [jaeger_otlp, jaeger_http, jaeger_grpc, prometheus] = addresses;

        let mut command = Command::new(&programs.jaeger);
        command.arg("--config").arg(config("jaeger/config.yaml"));
        command.envs([
            ("OTLP_GRPC_ENDPOINT", &jaeger_otlp),
            ("QUERY_HTTP_ENDPOINT", &jaeger_http),
            ("QUERY_GRPC_ENDPOINT", &jaeger_grpc),
        ]);
        let answers = || ok(&url(&jaeger_http), "/api/v3/services").map(drop);
        let jaeger = Running::start(&folder("jaeger"), "Jaeger", &mut command, answers)?;

        let start = |name: &'static str, percentage: &str| {
            let configuration = config("collector/config.yaml");
            Collector::start(&programs.collector, &configuration, &folder(name), &jaeger_otlp, percentage)
        };
        let collector = start("collector", "100")?;
        let sampler = start("sampler", "0")?;

        let configuration = prometheus_files(&config("prometheus"), &folder("prometheus"), &collector)?;
        let mut command = program("prometheus", root);
        command.arg(format!("--config.file={}", configuration.display()));
        command.arg(format!("--storage.tsdb.path={}", folder("prometheus").join("data").display()));
        command.arg(format!("--web.listen-address={prometheus}"));
        let answers = || ok(&url(&prometheus), "/-/ready").map(drop);
        let running = Running::start(&folder("prometheus"), "Prometheus", &mut command, answers)?;
        Ok(Self {
            _prometheus: running,
            collector,
            sampler,
            _jaeger: jaeger,
            jaeger_api: url(&jaeger_http),
            prometheus_api: url(&prometheus),
        })
    }

    /// The spans of a trace in Jaeger, in OTLP's JSON.
    pub(super) fn spans(&self, trace: &str) -> Result<Vec<Value>> {
        let (status, body) = probe::http_get(&self.jaeger_api, &format!("/api/v3/traces/{trace}"))?;
        if status == 404 {
            return Ok(Vec::new());
        }
        let mut spans = Vec::new();
        for chunk in serde_json::Deserializer::from_str(&body).into_iter::<Value>() {
            let chunk = chunk.with_context(|| format!("Jaeger responded with {status}: {body}"))?;
            for resource in chunk["result"]["resourceSpans"].as_array().into_iter().flatten() {
                for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
                    spans.extend(scope["spans"].as_array().into_iter().flatten().cloned());
                }
            }
        }
        Ok(spans)
    }

    /// The samples that Prometheus returns for an expression now: the labels and the value of each series.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let body = ok(&self.prometheus_api, &format!("/api/v1/query?query={encoded}"))
            .with_context(|| format!("Prometheus refuses `{expression}`"))?;
        let response: Value = serde_json::from_str(&body)?;
        let samples = response["data"]["result"].as_array().into_iter().flatten();
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse().ok());
        Ok(samples.map(|sample| (sample["metric"].clone(), value(sample).unwrap_or(f64::NAN))).collect())
    }
}

/// Writes the configuration with the addresses of this run, and intervals of a second: alerts fire as soon as their expression holds.
fn prometheus_files(from: &Path, to: &Path, collector: &Collector) -> Result<PathBuf> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let data = to.join("data");
    if data.exists() {
        fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
    }
    let copy = |name: &str, changes: &[(&str, &str)]| {
        let path = from.join(name);
        let mut text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (from, to) in changes {
            if !text.contains(from) {
                bail!("{} has no `{from}`", path.display());
            }
            text = text.replace(from, to);
        }
        fs::write(to.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    copy(
        "prometheus.yaml",
        &[
            ("collector:8889", &*collector.exported),
            ("collector:8888", &*collector.own),
            ("interval: 10s", "interval: 1s"),
        ],
    )?;
    copy(
        "alerts.yaml",
        &[("for: 1m\n", "for: 1s\n"), ("for: 5m\n", "for: 1s\n"), ("for: 10m\n", "for: 1s\n")],
    )?;
    Ok(to.join("prometheus.yaml"))
}

/// Returns the body of a response with the status 200.
pub(super) fn ok(url: &str, path: &str) -> Result<String> {
    match probe::http_get(url, path)? {
        (200, body) => Ok(body),
        (status, body) => bail!("{path} has the status {status}: {body}"),
    }
}

/// Repeats the check until it succeeds.
pub(super) fn wait_for(what: &str, check: impl Fn() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("no {what} within {PATIENCE:?}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

pub(super) fn url(address: &str) -> String {
    format!("http://{address}")
}
