//! The OpenTelemetry Collector, for one step of `cargo xtask ci --full`: no test names it, and `cargo xtask services` does not
//! start it.
//!
//! The variables are those of `collector.rs` with the prefix `OPENTELEMETRY_`, without its program. Natively it is built from
//! the Go modules of `services/opentelemetry_collector`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::services::{
    Service, collector,
    compose::{Compose, Port},
    daemon::{self, Process},
    go, probe,
    record::Variables,
};

/// The prefix of the variables.
pub(crate) const PREFIX: &str = "OPENTELEMETRY_";

const GRPC: &str = "OPENTELEMETRY_COLLECTOR_OTLP_GRPC_URL";
const HTTP: &str = "OPENTELEMETRY_COLLECTOR_OTLP_HTTP_URL";
const LOG: &str = "OPENTELEMETRY_COLLECTOR_LOG";

/// The source, by the names of its files.
const SOURCE: [(&str, &str); 3] = [
    ("main.go", include_str!("opentelemetry_collector/main.go")),
    ("go.mod", include_str!("opentelemetry_collector/go.mod")),
    ("go.sum", include_str!("opentelemetry_collector/go.sum")),
];

pub(super) const SERVICE: Service = Service {
    name: "opentelemetry-collector",
    about: "OpenTelemetry Collector 0.161, gRPC and HTTP, prints what it receives",
    variables: &[GRPC, HTTP, LOG],
    optional: &[],
    answers: |variables| {
        let renamed = variables.iter().map(|(name, value)| (name.replace(PREFIX, ""), value.clone()));
        collector::answers(&renamed.collect())
    },
    compose: Compose {
        file: "\
services:
  collector:
    image: otel/opentelemetry-collector:0.161.0
    command:
      - >-
        --config=yaml:{
        receivers: {otlp: {protocols: {grpc: {endpoint: '0.0.0.0:4317'}, http: {endpoint: '0.0.0.0:4318'}}}},
        exporters: {debug: {verbosity: detailed}},
        service: {pipelines: {
        traces: {receivers: [otlp], exporters: [debug]},
        metrics: {receivers: [otlp], exporters: [debug]},
        logs: {receivers: [otlp], exporters: [debug]}}}}
    ports: ['127.0.0.1::4317', '127.0.0.1::4318']
",
        service: "collector",
        ports: &[
            Port { inside: 4317, variable: GRPC, scheme: "http://" },
            Port { inside: 4318, variable: HTTP, scheme: "http://" },
        ],
        log: LOG,
        optional: |_| Ok(Variables::default()),
    },
    stop_signal: "TERM",
    missing: |_| Vec::new(),
    native,
};

fn native(folder: &Path) -> Result<(Process, Variables)> {
    let server = build(folder)?;
    let [grpc, http] = probe::free_ports()?.map(|port| format!("127.0.0.1:{port}"));
    let signals = ["traces", "metrics", "logs"].map(|signal| format!("{signal}: {PIPELINE}"));
    let config = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{grpc}'}}, http: {{endpoint: '{http}'}}}}}}}}\n\
         exporters: {{debug: {{verbosity: detailed}}}}\n\
         service: {{pipelines: {{{}}}, telemetry: {{metrics: {{level: none}}}}}}\n",
        signals.join(", ")
    );
    let process =
        Process::start(Command::new(&server).arg("--config").arg(format!("yaml:{config}")), folder)?;
    let log = daemon::log(folder).display().to_string();
    let variables = [(GRPC, format!("http://{grpc}")), (HTTP, format!("http://{http}")), (LOG, log)];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// Prints every record that is received, without a batch processor.
const PIPELINE: &str = "{receivers: [otlp], exporters: [debug]}";

/// Builds the program, and returns its path.
pub(crate) fn server(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/services/opentelemetry-collector");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    build(&folder)
}

fn build(folder: &Path) -> Result<PathBuf> {
    go::build(folder, &SOURCE, ".", "otelcol")
}
