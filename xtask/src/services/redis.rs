//! Redis 7, one server.
//!
//! `REDIS_URL` is the address of the shared server, redis://HOST:PORT, which needs no credentials. `REDIS_LOG` is the path
//! of its log file. The server starts without data and stores none.
//!
//! `REDIS_SERVER` is the path of the program `redis-server`, for tests that run private servers, such as the nodes of a
//! cluster, or that stop and restart one. An external server may leave the variable unset, and a test that needs it then
//! fails with an error.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::services::{
    Service,
    compose::{Compose, Port},
    daemon::{self, Process},
    debian::{self, Requirement},
    probe,
    record::{self, Variables},
};

const URL: &str = "REDIS_URL";
const LOG: &str = "REDIS_LOG";
const SERVER: &str = "REDIS_SERVER";

const SCHEME: &str = "redis://";

pub(super) const SERVICE: Service = Service {
    name: "redis",
    about: "Redis 7, one server",
    variables: &[URL],
    optional: &[LOG, SERVER],
    answers,
    compose: Compose {
        file: "\
services:
  redis:
    image: redis:7.0
    ports: ['127.0.0.1::6379']
",
        service: "redis",
        ports: &[Port { inside: 6379, variable: URL, scheme: SCHEME }],
        log: LOG,
        optional: |_| {
            let server = server().with_context(|| format!("{SERVER} is not available"))?;
            Ok([(SERVER.to_owned(), server.display().to_string())].into())
        },
    },
    stop_signal: "TERM",
    missing,
    native,
};

const PROGRAM: &str = "redis-server";

fn missing(_folder: &Path) -> Vec<Requirement> {
    match debian::has(PROGRAM) {
        true => Vec::new(),
        false => vec![(PROGRAM, "redis-server")],
    }
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    debian::install(folder, &missing(folder))?;
    let server = server()?;
    let data = folder.join("data");
    daemon::remove_data(&data)?;
    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let [port] = probe::free_ports()?.map(|port| port.to_string());
    let mut command = Command::new(&server);
    command
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir"])
        .arg(&data);
    let process = Process::start(&mut command, folder)?;
    let variables = [
        (URL, format!("{SCHEME}127.0.0.1:{port}")),
        (LOG, daemon::log(folder).display().to_string()),
        (SERVER, server.display().to_string()),
    ];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// The path of the program.
fn server() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    candidates.find(|file| file.is_file()).with_context(|| format!("{PROGRAM} is not on the path"))
}

/// Connects, and waits for the answer to a PING, <https://redis.io/docs/latest/commands/ping/>.
fn answers(variables: &Variables) -> Result<()> {
    let url = record::get(variables, URL)?;
    ping(url).with_context(|| format!("{URL}: no answer"))?;
    for name in [LOG, SERVER] {
        if let Some(path) = variables.get(name).filter(|path| !Path::new(path).is_file()) {
            bail!("{name}: {path} is not a file");
        }
    }
    Ok(())
}

fn ping(url: &str) -> Result<()> {
    let address = url.strip_prefix(SCHEME).map(|address| address.trim_end_matches('/'));
    let address = address.with_context(|| format!("invalid address `{url}`; expected {SCHEME}HOST:PORT"))?;
    let mut stream = probe::connect(address)?;
    stream.write_all(b"PING\r\n").with_context(|| format!("{address} sent no response"))?;
    let mut line = String::new();
    // Limited, because a server of a different protocol may never send a newline.
    BufReader::new(stream.take(1024))
        .read_line(&mut line)
        .with_context(|| format!("{address} sent no response"))?;
    match line.trim_end() {
        "+PONG" => Ok(()),
        answer if answer.starts_with('-') => bail!("{address} refuses a PING: {answer:?}"),
        answer => bail!("{address} is not a Redis server: {answer:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::ping;
    use crate::services::probe::tests::server;

    /// The result of a PING to a server with this answer.
    fn answered(answer: &'static [u8]) -> String {
        let (url, seen) = server(answer);
        let result = ping(&url.replace("http://", "redis://"));
        assert_eq!(seen.join().unwrap(), b"PING\r\n");
        result.map_or_else(|error| format!("{error:#}"), |()| "pong".to_owned())
    }

    #[test]
    fn a_server_answers_a_ping() {
        assert_eq!(answered(b"+PONG\r\n"), "pong");
        let error = answered(b"-NOAUTH Authentication required.\r\n");
        assert!(error.contains("refuses a PING: \"-NOAUTH Authentication required.\""), "{error}");
        let error = answered(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert!(error.contains("is not a Redis server: \"HTTP/1.1 400 Bad Request\""), "{error}");
    }

    #[test]
    fn an_address_of_another_scheme_is_an_error() {
        let error = ping("http://127.0.0.1:1").unwrap_err().to_string();
        assert_eq!(error, "invalid address `http://127.0.0.1:1`; expected redis://HOST:PORT");
    }
}
