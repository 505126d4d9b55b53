//! The OTLP collector: Rotel, configured to print everything that it receives.
//!
//! `COLLECTOR_OTLP_GRPC_URL` and `COLLECTOR_OTLP_HTTP_URL` are the addresses of its two OTLP receivers;
//! `COLLECTOR_LOG` is the path of the file to which it prints each span, metric and log record. `COLLECTOR_SERVER` is the path
//! of its program, for soaks that kill and restart a private collector.

use std::{env, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::services::{
    Service,
    compose::{Compose, Port},
    daemon::{self, Process},
    debian::Requirement,
    probe, python,
    record::{self, Variables},
};

const GRPC: &str = "COLLECTOR_OTLP_GRPC_URL";
const HTTP: &str = "COLLECTOR_OTLP_HTTP_URL";
const LOG: &str = "COLLECTOR_LOG";
const SERVER: &str = "COLLECTOR_SERVER";

/// The release on PyPI.
const REQUIREMENT: &str = "rotel==0.0.1a15";

/// Prints the path of the executable, because the package installs it next to its modules and not in `bin/`.
const LOCATE: &str = "import pathlib, rotel; print(pathlib.Path(rotel.__file__).with_name('rotel-agent'))";

pub(super) const SERVICE: Service = Service {
    name: "collector",
    about: "OTLP collector (Rotel), gRPC and HTTP, prints what it receives",
    variables: &[GRPC, HTTP, LOG],
    optional: &[SERVER],
    answers,
    compose: Compose {
        // The image's entry point binds both receivers to all addresses of the container.
        file: "\
services:
  collector:
    image: streamfold/rotel:latest
    command: [--exporter, blackhole, --debug-log, traces, --debug-log, metrics, --debug-log, logs, --debug-log-verbosity, detailed]
    environment: {NO_COLOR: '1'}
    ports: ['127.0.0.1::4317', '127.0.0.1::4318']
",
        service: "collector",
        ports: &[
            Port { inside: 4317, variable: GRPC, scheme: "http://" },
            Port { inside: 4318, variable: HTTP, scheme: "http://" },
        ],
        log: LOG,
        optional: |folder| {
            let server = server(folder).with_context(|| format!("{SERVER} is not available"))?;
            Ok([(SERVER.to_owned(), server)].into())
        },
    },
    stop_signal: "TERM",
    missing,
    native,
};

fn missing(_folder: &Path) -> Vec<Requirement> {
    python::missing()
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    let agent = server(folder)?;
    let [grpc, http] = probe::free_ports()?.map(|port| format!("127.0.0.1:{port}"));
    let mut command = Command::new(&agent);
    command.args(["start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"]);
    command.args(["traces", "metrics", "logs"].iter().flat_map(|signal| ["--debug-log", signal]));
    command.args(["--otlp-grpc-endpoint", &grpc, "--otlp-http-endpoint", &http]);
    // The developer's settings of this program are meant for a different instance.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROTEL_")) {
        command.env_remove(name);
    }
    let process = Process::start(command.env("NO_COLOR", "1"), folder)?;
    let log = daemon::log(folder).display().to_string();
    let variables =
        [(GRPC, format!("http://{grpc}")), (HTTP, format!("http://{http}")), (LOG, log), (SERVER, agent)];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

fn server(folder: &Path) -> Result<String> {
    python::installed(folder, REQUIREMENT, LOCATE)
}

/// Sends each receiver a request that carries no telemetry, so that the log stays empty.
pub(super) fn answers(variables: &Variables) -> Result<()> {
    let get = |name| record::get(variables, name);
    let status = probe::http_post(get(HTTP)?, "/v1/traces", r#"{"resourceSpans":[]}"#)
        .with_context(|| format!("{HTTP}: no answer"))?;
    if status != 200 {
        bail!("{HTTP}: an empty export returned status {status}");
    }
    probe::http2(get(GRPC)?).with_context(|| format!("{GRPC}: no answer"))?;
    for path in [(LOG, Some(get(LOG)?)), (SERVER, variables.get(SERVER).map(String::as_str))] {
        if let (name, Some(path)) = path
            && !Path::new(path).is_file()
        {
            bail!("{name}: {path} is not a file");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{LOG, SERVICE, answers};
    use crate::services::record::Variables;

    #[test]
    fn a_closed_port_and_an_unset_variable_are_errors() {
        let mut variables: Variables = SERVICE
            .variables
            .iter()
            .map(|name| ((*name).to_owned(), "http://127.0.0.1:1".to_owned()))
            .collect();
        let error = format!("{:#}", answers(&variables).unwrap_err());
        assert!(error.starts_with("COLLECTOR_OTLP_HTTP_URL: no answer: "), "{error}");
        variables.clear();
        variables.insert(LOG.to_owned(), "/dev/null".to_owned());
        let error = answers(&variables).unwrap_err().to_string();
        assert_eq!(error, "COLLECTOR_OTLP_HTTP_URL is not set");
    }
}
