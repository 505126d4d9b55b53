//! etcd 3.4 or later, one member.
//!
//! `ETCD_URL` is the address of the shared server, http://HOST:PORT, which needs no credentials. `ETCD_LOG` is the path of its
//! log file. The server starts without data.
//!
//! `ETCD_SERVER` is the path of the program `etcd`, for tests that run a private server, or stop and restart one. An external
//! server may leave the variable unset, and a test that needs it then fails with an error.

use std::{env, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::services::{
    Service,
    compose::{Compose, Port},
    daemon::{self, Process},
    debian::{self, Requirement},
    probe,
    record::{self, Variables},
};

const URL: &str = "ETCD_URL";
const LOG: &str = "ETCD_LOG";
const SERVER: &str = "ETCD_SERVER";

pub(super) const SERVICE: Service = Service {
    name: "etcd",
    about: "etcd 3.4 or later",
    variables: &[URL],
    optional: &[LOG, SERVER],
    answers,
    compose: Compose {
        file: "\
services:
  etcd:
    image: quay.io/coreos/etcd:v3.5.21
    command: [etcd, --listen-client-urls=http://0.0.0.0:2379, --advertise-client-urls=http://0.0.0.0:2379]
    ports: ['127.0.0.1::2379']
",
        service: "etcd",
        ports: &[Port { inside: 2379, variable: URL, scheme: "http://" }],
        log: LOG,
        optional: |_| {
            let server = server().with_context(|| format!("{SERVER} is not available"))?;
            Ok([(SERVER.to_owned(), server)].into())
        },
    },
    stop_signal: "TERM",
    missing: |_| missing(),
    native,
};

fn missing() -> Vec<Requirement> {
    if debian::has("etcd") { Vec::new() } else { vec![("etcd", "etcd-server")] }
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    debian::install(folder, &missing())?;
    let server = server()?;
    let data = folder.join("data");
    daemon::remove_data(&data)?;
    let [client, peer] = probe::free_ports()?.map(|port| format!("http://127.0.0.1:{port}"));
    let mut command = Command::new(&server);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}"), "--data-dir"]).arg(&data);
    let process = Process::start(&mut command, folder)?;
    let log = daemon::log(folder).display().to_string();
    let variables = [(URL, client), (LOG, log), (SERVER, server)];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// Returns the path of the program.
fn server() -> Result<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|folder| folder.join("etcd"));
    let found = candidates.find(|candidate| candidate.is_file());
    Ok(found.context("etcd is not installed")?.display().to_string())
}

/// Reads a key over [HTTP](https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/), which the members have to agree about.
fn answers(variables: &Variables) -> Result<()> {
    let url = record::get(variables, URL)?;
    match probe::http_post(url, "/v3/kv/range", r#"{"key":"YQ=="}"#) {
        Ok(200) => {}
        Ok(status) => bail!("{URL}: a read is answered with the status {status}"),
        Err(error) => return Err(error).with_context(|| format!("{URL}: no answer")),
    }
    for name in [LOG, SERVER] {
        if let Some(path) = variables.get(name).filter(|path| !Path::new(path).is_file()) {
            bail!("{name}: {path} is not a file");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{URL, answers};
    use crate::services::{probe::tests::server, record::Variables};

    fn answered(answer: &'static [u8]) -> Result<String, String> {
        let (url, handle) = server(answer);
        let variables: Variables = [(URL.to_owned(), url)].into();
        let result = answers(&variables).map_err(|error| format!("{error:#}"));
        let request = String::from_utf8(handle.join().unwrap()).unwrap();
        result.map(|()| request)
    }

    #[test]
    fn a_server_that_can_be_read_is_up() {
        let request = answered(b"HTTP/1.1 200 OK\r\n\r\n{}").unwrap();
        assert!(request.starts_with("POST /v3/kv/range HTTP/1.1\r\n"), "{request}");
        let error = answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert_eq!(error, "ETCD_URL: a read is answered with the status 503");
        let error = answered(b"SSH-2.0-x\r\n").unwrap_err();
        assert!(error.contains("is not an HTTP/1.1 server"), "{error}");
    }
}
