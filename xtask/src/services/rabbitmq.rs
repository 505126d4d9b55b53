//! RabbitMQ 3.10, one node.
//!
//! `RABBITMQ_URL` is the address of the shared broker, amqp://USER:PASSWORD@HOST:PORT, whose user may do everything.
//! `RABBITMQ_LOG` is the path of its log file. The broker starts without data.
//!
//! `RABBITMQ_SERVER` is the path of a program that runs a private broker, for tests that stop and restart one:
//! `$RABBITMQ_SERVER FOLDER PORT DISTRIBUTION_PORT EPMD_PORT`. It runs in the foreground. SIGKILL is a crash; SIGTERM is an
//! orderly shutdown. A restart with the same arguments keeps the data; the details are in
//! `xtask/src/services/rabbitmq/broker.sh`. Next to a container, the program is created only if RabbitMQ is already
//! installed. An external broker may leave the variable unset, and a test that needs it then fails with an error.

use std::{
    io::{Read, Write},
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
    script,
};

const URL: &str = "RABBITMQ_URL";
const LOG: &str = "RABBITMQ_LOG";
const SERVER: &str = "RABBITMQ_SERVER";

/// The URL of a broker started here, up to its address.
pub(super) const SCHEME: &str = "amqp://guest:guest@";

pub(super) const SCRIPT: &str = include_str!("rabbitmq/broker.sh");

pub(super) const SERVICE: Service = Service {
    name: "rabbitmq",
    about: "RabbitMQ 3.10, one node",
    variables: &[URL],
    optional: &[LOG, SERVER],
    answers: |variables| check(variables, URL, [LOG, SERVER]),
    compose: Compose {
        file: "\
services:
  rabbitmq:
    image: rabbitmq:3.10
    ports: ['127.0.0.1::5672']
",
        service: "rabbitmq",
        ports: &[Port { inside: 5672, variable: URL, scheme: SCHEME }],
        log: LOG,
        optional: |folder| {
            let server = server(folder).with_context(|| format!("{SERVER} is not available"))?;
            Ok([(SERVER.to_owned(), server.display().to_string())].into())
        },
    },
    stop_signal: "TERM",
    missing,
    native,
};

/// The program of the Debian package; the one on `PATH` is a wrapper that runs as root or `rabbitmq` alone.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

fn missing(_folder: &Path) -> Vec<Requirement> {
    match Path::new(DEBIAN).exists() || debian::has("rabbitmq-server") {
        true => Vec::new(),
        false => vec![("rabbitmq-server", "rabbitmq-server")],
    }
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    debian::install(folder, &missing(folder))?;
    let server = server(folder)?;
    let shared = folder.join("shared");
    daemon::remove_data(&shared)?;
    let [port, distribution, epmd] = probe::free_ports()?.map(|port| port.to_string());
    let process =
        Process::start(Command::new(&server).arg(&shared).args([&port, &distribution, &epmd]), folder)?;
    let variables = [
        (URL, format!("{SCHEME}127.0.0.1:{port}")),
        (LOG, daemon::log(folder).display().to_string()),
        (SERVER, server.display().to_string()),
    ];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// Installs the program that runs a broker.
fn server(folder: &Path) -> Result<PathBuf> {
    if !missing(folder).is_empty() {
        bail!("rabbitmq-server is not installed");
    }
    script::install(&folder.join("broker"), SCRIPT)
}

/// Succeeds if the broker begins the connection, which it does once it has started, and lets the client log in.
pub(super) fn check(variables: &Variables, url: &str, paths: [&str; 2]) -> Result<()> {
    login(record::get(variables, url)?).with_context(|| format!("{url}: no answer"))?;
    for name in paths {
        if let Some(path) = variables.get(name).filter(|path| !Path::new(path).is_file()) {
            bail!("{name}: {path} is not a file");
        }
    }
    Ok(())
}

/// Parses a URL into user, password and address.
fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let (credentials, rest) = url.strip_prefix("amqp://")?.rsplit_once('@')?;
    let (user, password) = credentials.split_once(':')?;
    let address = rest.split('/').next()?;
    let (_, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Some((user, password, address))
}

/// Connects and logs in by the mechanism PLAIN of AMQP 0-9-1,
/// <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>. Numbers are big-endian.
fn login(url: &str) -> Result<()> {
    const CONNECTION_START: [u8; 4] = [0, 10, 0, 10];
    const CONNECTION_START_OK: [u8; 4] = [0, 10, 0, 11];
    const CONNECTION_TUNE: [u8; 4] = [0, 10, 0, 30];
    let (user, password, address) =
        parts(url).with_context(|| format!("`{url}` is not of the form amqp://USER:PASSWORD@HOST:PORT"))?;
    let mut stream = probe::connect(address)?;
    let silent = || format!("{address} sent no response");
    stream.write_all(b"AMQP\0\0\x09\x01").with_context(silent)?;
    let method = receive(&mut stream).with_context(silent)?;
    if !method.starts_with(&CONNECTION_START) {
        bail!("{address} is not an AMQP 0-9-1 broker");
    }
    let response = format!("\0{user}\0{password}");
    let length = u32::try_from(response.len())?.to_be_bytes();
    // No properties of the client, the mechanism, its response, and the locale.
    let no_properties = [0; 4];
    let body =
        [&CONNECTION_START_OK[..], &no_properties, b"\x05PLAIN", &length, response.as_bytes(), b"\x05en_US"]
            .concat();
    let size = u32::try_from(body.len())?.to_be_bytes();
    stream.write_all(&[b"\x01\0\0", &size[..], &body, b"\xce"].concat()).with_context(silent)?;
    let method = receive(&mut stream).with_context(|| format!("{address} refuses the user {user}"))?;
    if !method.starts_with(&CONNECTION_TUNE) {
        bail!("{address} refuses the user {user}");
    }
    Ok(())
}

/// Receives the method of one frame.
fn receive(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut head = [0; 7];
    stream.read_exact(&mut head)?;
    let [kind, _, _, size @ ..] = head;
    let size = u32::from_be_bytes(size);
    // The bytes of a different protocol parse as a size, too; almost always as a large one.
    if kind != 1 || size > 64 * 1024 {
        bail!("not an AMQP broker");
    }
    let mut method = vec![0; usize::try_from(size)? + 1];
    stream.read_exact(&mut method)?;
    Ok(method)
}

#[cfg(test)]
mod tests {
    use super::{login, parts};
    use crate::services::probe::tests::server;

    #[test]
    fn a_url_has_a_user_a_password_and_an_address() {
        let expected = Some(("guest", "secret", "127.0.0.1:5672"));
        assert_eq!(parts("amqp://guest:secret@127.0.0.1:5672"), expected);
        assert_eq!(parts("amqp://guest:secret@127.0.0.1:5672/%2f"), expected);
        for url in ["amqp://127.0.0.1:5672", "amqp://a:b@host", "http://a:b@127.0.0.1:5672", ""] {
            assert_eq!(parts(url), None, "{url}");
        }
    }

    #[test]
    fn a_different_protocol_is_an_error() {
        let (url, seen) = server(b"220 mail.example ESMTP\r\n");
        let error = login(&url.replace("http://", "amqp://guest:guest@")).unwrap_err();
        assert!(format!("{error:#}").contains("not an AMQP broker"), "{error:#}");
        assert!(seen.join().unwrap().starts_with(b"AMQP\0\0\x09\x01"));
    }

    #[test]
    fn a_refused_user_is_an_error() {
        // The start of a connection, and after it no answer.
        let (url, _) = server(b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xce");
        let error = login(&url.replace("http://", "amqp://guest:wrong@")).unwrap_err();
        assert!(format!("{error:#}").contains("refuses the user guest"), "{error:#}");
    }
}
