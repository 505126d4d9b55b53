//! A Collector with the configuration of `deploy/compose`, on ports that are free.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{
    ci::deploy::backends::{ok, url, wait_for},
    services::{probe, running::Running},
};

/// A running Collector, and its addresses.
pub(super) struct Collector {
    pub(super) running: Running,
    /// OTLP over HTTP.
    pub(super) otlp: String,
    fluent: String,
    /// The exporter for Prometheus.
    pub(super) exported: String,
    /// Its own metrics.
    pub(super) own: String,
    log: PathBuf,
}

impl Collector {
    /// Starts a Collector that keeps this percentage of the traces which no other policy keeps.
    pub(super) fn start(
        server: &Path,
        configuration: &Path,
        folder: &Path,
        jaeger: &str,
        percentage: &str,
    ) -> Result<Self> {
        let addresses: [String; 7] = probe::free_ports()?.map(|port| format!("127.0.0.1:{port}"));
        let [grpc, http, zipkin, fluent, exported, health, own] = addresses;
        let mut command = Command::new(server);
        command.arg("--config").arg(configuration);
        command.envs([
            ("OTLP_GRPC_ENDPOINT", &*grpc),
            ("OTLP_HTTP_ENDPOINT", &http),
            ("ZIPKIN_ENDPOINT", &zipkin),
            ("FLUENT_ENDPOINT", &fluent),
            ("JAEGER_OTLP_ENDPOINT", jaeger),
            ("PROMETHEUS_ENDPOINT", &exported),
            ("HEALTH_ENDPOINT", &health),
            ("SELF_METRICS_HOST", "127.0.0.1"),
            ("SELF_METRICS_PORT", own.rsplit(':').next().unwrap_or_default()),
            ("SAMPLING_PERCENTAGE", percentage),
            ("SAMPLING_DECISION_WAIT", "5s"),
            ("SPAN_METRICS_INTERVAL", "1s"),
        ]);
        let answers = || ok(&url(&health), "/").map(drop);
        let running = Running::start(folder, "the Collector", &mut command, answers)?;
        Ok(Self { running, otlp: url(&http), fluent, exported, own, log: folder.join("log") })
    }

    /// Sends OTLP in JSON.
    pub(super) fn send(&self, path: &str, json: &Value) -> Result<()> {
        match probe::http_post(&self.otlp, path, &json.to_string())? {
            200 => Ok(()),
            status => bail!("the Collector refused {path} with the status {status}"),
        }
    }

    /// Its own metrics, in Prometheus' text format.
    pub(super) fn own_metrics(&self) -> Result<String> {
        ok(&url(&self.own), "/metrics")
    }

    /// Lines that containers print become log records with the severity and the trace of the line. They come as the engine's
    /// [fluentd driver](https://docs.docker.com/engine/logging/drivers/fluentd/) sends them.
    pub(super) fn has_log_lines(&self) -> Result<()> {
        let trace = "5b8efff798038103d269b633813fc60c";
        let line = format!(
            r#"{{"@level":"error","@message":"no leader","trace_id":"{trace}","span_id":"eee19b7ec3c1b174","node":"n1"}}"#
        );
        let mut stream = probe::connect(&self.fluent)?;
        stream.write_all(&fluent_message("consul", &line))?;
        stream.write_all(&fluent_message("nats", "a plain line"))?;
        let expected = [
            "SeverityText: error",
            "SeverityNumber: Error(17)",
            "Body: Str(no leader)",
            "node: Str(n1)",
            "Body: Str(a plain line)",
        ];
        let expected = expected.into_iter().map(str::to_owned).chain([format!("Trace ID: {trace}")]);
        let expected: Vec<_> = expected.collect();
        wait_for("log records of lines of containers", || {
            let text = fs::read_to_string(&self.log)?;
            let missing = expected.iter().find(|one| !text.contains(*one));
            missing.map_or(Ok(()), |missing| bail!("no `{missing}`"))
        })
    }
}

/// A message in [Fluentd's forward protocol](https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1#message-modes):
/// an array of tag, time and record, in MessagePack.
fn fluent_message(container: &str, line: &str) -> Vec<u8> {
    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.push(0xda);
        bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    let mut bytes = vec![0x93];
    text(&mut bytes, container);
    bytes.extend([0xce, 0x69, 0, 0, 0]);
    bytes.push(0x82);
    for (key, value) in [("container_name", container), ("log", line)] {
        text(&mut bytes, key);
        text(&mut bytes, value);
    }
    bytes
}
