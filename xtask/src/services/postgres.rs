//! PostgreSQL 15 or later, with prepared transactions.
//!
//! `POSTGRES_URL` has a superuser that needs no password, and no database: `postgres://USER@HOST:PORT`, to which tests
//! append `/NAME`. `POSTGRES_LOG` is the path of the log file. The server starts without data.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{program, run_within},
    services::{
        Service,
        compose::{Compose, Port},
        daemon::{self, Process},
        debian::{self, Requirement},
        probe,
        record::{self, Variables},
    },
};

const URL: &str = "POSTGRES_URL";
const LOG: &str = "POSTGRES_LOG";

/// The URL of a server started here, up to its address.
const SCHEME: &str = "postgres://postgres@";

/// The limit of prepared transactions, which two-phase commit needs; the server's default is 0.
const PREPARED: &str = "max_prepared_transactions";

/// Timeout of `install` and `initdb`, which take seconds.
const LIMIT: Duration = Duration::from_secs(5 * 60);

pub(super) const SERVICE: Service = Service {
    name: "postgres",
    about: "PostgreSQL, with prepared transactions",
    variables: &[URL],
    optional: &[LOG],
    answers,
    compose: Compose {
        file: "\
services:
  postgres:
    image: postgres:15
    command: [-c, max_prepared_transactions=64]
    environment: {POSTGRES_HOST_AUTH_METHOD: trust}
    ports: ['127.0.0.1::5432']
",
        service: "postgres",
        ports: &[Port { inside: 5432, variable: URL, scheme: SCHEME }],
        log: LOG,
        optional: |_| Ok(Variables::new()),
    },
    // SIGTERM would wait until all clients have disconnected.
    stop_signal: "INT",
    missing,
    native,
};

fn missing(_folder: &Path) -> Vec<Requirement> {
    let mut missing = Vec::new();
    if programs(Path::new(DEBIAN)).is_none() {
        missing.push(("initdb", "postgresql"));
    }
    // For tests that put it in front of the server. Debian installs it in a folder that is not on the path of all users.
    if !debian::has("pgbouncer") && !Path::new("/usr/sbin/pgbouncer").is_file() {
        missing.push(("pgbouncer", "pgbouncer"));
    }
    missing
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    debian::install(folder, &missing(folder))?;
    let programs =
        programs(Path::new(DEBIAN)).context("package postgresql was installed, but initdb was not found")?;
    let user = debian::is_root(folder);
    let data = folder.join("data");
    daemon::remove_data(&data)?;
    if user {
        let owner = ["-d", "-m", "700", "-o", "postgres", "-g", "postgres"];
        run_within(program("install", folder).args(owner).arg(&data), LIMIT)?;
    }
    let mut initdb = command_as(user, &programs.join("initdb"));
    initdb.args(["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]);
    initdb.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(&data).current_dir(folder);
    run_within(&mut initdb, LIMIT).with_context(|| {
        format!("initdb failed; as root it runs as `postgres`, which needs access to {}", data.display())
    })?;
    let [port] = probe::free_ports()?;
    let mut postgres = command_as(user, &programs.join("postgres"));
    postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
    let prepared = format!("{PREPARED}=64");
    for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", &prepared] {
        postgres.args(["-c", setting]);
    }
    let process = Process::start(&mut postgres, folder)?;
    let variables =
        [(URL, format!("{SCHEME}127.0.0.1:{port}")), (LOG, daemon::log(folder).display().to_string())];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// The folder in which Debian and Ubuntu install PostgreSQL, with a subfolder per major release.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Returns the `bin` folder of the latest complete release; an empty path means that the programs are on `PATH`.
fn programs(releases: &Path) -> Option<PathBuf> {
    let release =
        |folder: PathBuf| Some((folder.file_name()?.to_str()?.parse::<u32>().ok()?, folder.join("bin")));
    let entries = fs::read_dir(releases).into_iter().flatten().flatten();
    // A release with only the client package has the folder, but not these programs.
    let is_complete = |bin: &Path| ["initdb", "postgres"].iter().all(|name| bin.join(name).is_file());
    let latest = entries.filter_map(|entry| release(entry.path())).filter(|(_, bin)| is_complete(bin)).max();
    let on_path = || ["initdb", "postgres"].iter().all(|name| debian::has(name)).then(PathBuf::new);
    latest.map(|(_, bin)| bin).or_else(on_path)
}

/// A command that runs as user `postgres` if `other` is set, because PostgreSQL refuses to run as root. The Debian
/// package creates that user.
fn command_as(other: bool, path: &Path) -> Command {
    if !other {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(path);
    command
}

/// Logs in and checks the limit of prepared transactions. A server that asks for a password passes unchecked, because
/// authentication is not implemented here.
fn answers(variables: &Variables) -> Result<()> {
    let url = record::get(variables, URL)?;
    let prepared = setting(url, PREPARED).with_context(|| format!("{URL}: no answer"))?;
    if prepared.as_deref() == Some("0") {
        bail!("{URL}: the server has {PREPARED} = 0; two-phase commit needs 1 or more");
    }
    if let Some(log) = variables.get(LOG).filter(|log| !Path::new(log).is_file()) {
        bail!("{LOG}: {log} is not a file");
    }
    Ok(())
}

/// Parses a URL into user, address and database.
fn parts(url: &str) -> Option<(&str, String, &str)> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"))?;
    let rest = rest.split('?').next()?;
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, address) = authority.rsplit_once('@').unwrap_or(("postgres", authority));
    let user = user.split(':').next()?;
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { address.to_owned() } else { format!("{address}:5432") };
    Some((user, address, if database.is_empty() { user } else { database }))
}

/// Reads a server setting over protocol version 3.0, <https://www.postgresql.org/docs/15/protocol.html>. Returns `None`
/// if the server asks for a password.
fn setting(url: &str, name: &str) -> Result<Option<String>> {
    let (user, address, database) =
        parts(url).with_context(|| format!("`{url}` is not of the form postgres://USER@HOST:PORT"))?;
    let mut stream = probe::connect(&address)?;
    let silent = || format!("{address} sent no response");
    let version = 196_608_u32.to_be_bytes();
    let startup = format!("user\0{user}\0database\0{database}\0\0");
    send(&mut stream, b"", &[&version[..], startup.as_bytes()].concat()).with_context(silent)?;
    let mut value = None;
    let mut asked = false;
    loop {
        let (kind, body) = receive(&mut stream).with_context(silent)?;
        match kind {
            b'R' if body != [0; 4] => return Ok(None),
            b'E' => bail!("{address} returned an error: {}", error_message(&body)),
            // The row has one column, preceded by the number of columns (2 bytes) and its length (4 bytes).
            b'D' => value = body.get(6..).map(|text| String::from_utf8_lossy(text).into_owned()),
            b'Z' if asked => return value.context("the server returned no value").map(Some),
            b'Z' => {
                send(&mut stream, b"Q", format!("SHOW {name}\0").as_bytes()).with_context(silent)?;
                asked = true;
            }
            _ => {}
        }
    }
}

/// Sends a message: its kind (empty for the startup message), its length including these four bytes, and its body.
fn send(stream: &mut TcpStream, kind: &[u8], body: &[u8]) -> Result<()> {
    let length = u32::try_from(body.len() + 4)?.to_be_bytes();
    Ok(stream.write_all(&[kind, &length, body].concat())?)
}

fn receive(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    // The bytes of a different protocol parse as a length, too; almost always as a large one.
    let Some(length) = u32::from_be_bytes(length).checked_sub(4).filter(|length| *length < 64 * 1024) else {
        bail!("not a PostgreSQL server");
    };
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

/// Returns field `M` of an ErrorResponse, the message for people.
fn error_message(body: &[u8]) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let text = fields.find_map(|field| field.strip_prefix(b"M")).unwrap_or(b"no message");
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests;
