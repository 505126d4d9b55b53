//! PostgreSQL 15 or later, with prepared transactions.
//!
//! `POSTGRES_URL` names a superuser, who is let in without a password, and no database: `postgres://USER@HOST:PORT`, to
//! which tests add `/NAME`. `POSTGRES_LOG` is the file into which the server logs. It begins empty.

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
        debian, probe,
        record::{self, Variables},
    },
};

const URL: &str = "POSTGRES_URL";
const LOG: &str = "POSTGRES_LOG";

/// What stands before the address in our own URL.
const SCHEME: &str = "postgres://postgres@";

/// Two-phase commit needs them; none are allowed by default.
const PREPARED: &str = "max_prepared_transactions";

/// How long making an empty database may take; it takes seconds.
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
    // TERM would wait for clients to leave.
    stop_signal: "INT",
    native,
};

fn native(folder: &Path) -> Result<(Process, Variables)> {
    let programs = match programs(Path::new(DEBIAN)) {
        Some(programs) => programs,
        None => {
            debian::install(folder, &[("initdb", "postgresql")])?;
            programs(Path::new(DEBIAN)).context("postgresql was installed but has no initdb")?
        }
    };
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
        format!("initdb failed; as root it runs as `postgres`, who must get to {}", data.display())
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

/// Where Debian and Ubuntu have the releases of PostgreSQL, each in a folder of its number.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder with the programs of the latest release there, or of the one on the path.
fn programs(releases: &Path) -> Option<PathBuf> {
    let release =
        |folder: PathBuf| Some((folder.file_name()?.to_str()?.parse::<u32>().ok()?, folder.join("bin")));
    let there = fs::read_dir(releases).into_iter().flatten().flatten();
    // Clients alone are a folder with fewer programs.
    let whole = |bin: &Path| ["initdb", "postgres"].iter().all(|name| bin.join(name).is_file());
    let latest = there.filter_map(|entry| release(entry.path())).filter(|(_, bin)| whole(bin)).max();
    let on_path = || ["initdb", "postgres"].iter().all(|name| debian::has(name)).then(PathBuf::new);
    latest.map(|(_, bin)| bin).or_else(on_path)
}

/// PostgreSQL refuses to run as root; Debian's package brings a user for it.
fn command_as(other: bool, path: &Path) -> Command {
    if !other {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(path);
    command
}

/// Logs in and asks for the setting. Where a password is wanted, that is answer enough: this is no client.
fn answers(variables: &Variables) -> Result<()> {
    let url = record::get(variables, URL)?;
    let prepared = setting(url, PREPARED).with_context(|| format!("{URL} does not answer"))?;
    if prepared.as_deref() == Some("0") {
        bail!("{URL} is a server with {PREPARED} = 0; two-phase commit needs some");
    }
    if let Some(log) = variables.get(LOG).filter(|log| !Path::new(log).is_file()) {
        bail!("{LOG} is {log}, which is no file");
    }
    Ok(())
}

/// The user, the address and the database of a URL.
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

/// What the server says a setting is, by the protocol of PostgreSQL's manual, "Frontend/Backend Protocol", version 3.0;
/// `None` if it wants a password.
fn setting(url: &str, name: &str) -> Result<Option<String>> {
    let (user, address, database) =
        parts(url).with_context(|| format!("`{url}` is not of the form postgres://USER@HOST:PORT"))?;
    let mut stream = probe::connect(&address)?;
    let silent = || format!("{address} gives no answer");
    let version = 196_608_u32.to_be_bytes();
    let startup = format!("user\0{user}\0database\0{database}\0\0");
    send(&mut stream, b"", &[&version[..], startup.as_bytes()].concat()).with_context(silent)?;
    let mut value = None;
    let mut asked = false;
    loop {
        let (kind, body) = receive(&mut stream).with_context(silent)?;
        match kind {
            b'R' if body != [0; 4] => return Ok(None),
            b'E' => bail!("{address} refuses: {}", complaint(&body)),
            // The row has one column: its number of columns and the length come before it.
            b'D' => value = body.get(6..).map(|text| String::from_utf8_lossy(text).into_owned()),
            b'Z' if asked => return value.context("the server has no such setting").map(Some),
            b'Z' => {
                send(&mut stream, b"Q", format!("SHOW {name}\0").as_bytes()).with_context(silent)?;
                asked = true;
            }
            _ => {}
        }
    }
}

/// A message is its kind, which the first one does not have, its length with these four bytes, and its body.
fn send(stream: &mut TcpStream, kind: &[u8], body: &[u8]) -> Result<()> {
    let length = u32::try_from(body.len() + 4)?.to_be_bytes();
    Ok(stream.write_all(&[kind, &length, body].concat())?)
}

fn receive(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    // Another protocol's bytes would be a length as well.
    let Some(length) = u32::from_be_bytes(length).checked_sub(4).filter(|length| *length < 64 * 1024) else {
        bail!("it does not speak PostgreSQL's protocol");
    };
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

/// The field `M` of an error's many: what a person reads.
fn complaint(body: &[u8]) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let text = fields.find_map(|field| field.strip_prefix(b"M")).unwrap_or(b"no reason given");
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests;
