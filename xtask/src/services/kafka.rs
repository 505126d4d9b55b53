//! Kafka 4.1, one node that is broker and controller (KRaft).
//!
//! `KAFKA_BROKERS` is the address of the broker that tests share, HOST:PORT; there can be several, with commas.
//! `KAFKA_LOG` is the file into which it logs. It begins empty, creates no topic unasked, and forms groups at once.
//!
//! `KAFKA_SERVER` is a program that runs a broker of one's own, for tests that stop it and start it again midway:
//! `$KAFKA_SERVER FOLDER PORT CONTROLLER_PORT`. It stays in the foreground until it is killed (a crash), gets SIGTERM or
//! comes to the end of its standard input (a stop in order), and goes on with its data when it is started again with the
//! same arguments; `kafka/broker.sh` has the details. It needs Java and what Maven fetched: the native recipe has both
//! and starts the shared broker by it, and beside a broker in a container it is made where both are there already. Who
//! gives an address may leave it out. A test that needs it and does not find it fails and says so.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{answer, program, run_within},
    services::{
        Service,
        compose::{Compose, Port},
        daemon::{self, Process},
        debian, probe,
        record::{self, Variables},
    },
};

const BROKERS: &str = "KAFKA_BROKERS";
const LOG: &str = "KAFKA_LOG";
const SERVER: &str = "KAFKA_SERVER";

/// What Maven fetches: the release is in there.
const POM: &str = include_str!("kafka/pom.xml");
const SCRIPT: &str = include_str!("kafka/broker.sh");
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Programs, and the packages that have them. Kafka's brokers need Java 17.
const PROGRAMS: [(&str, &str); 2] = [("java", "openjdk-17-jre-headless"), ("mvn", "maven")];
const JAVA: u32 = 17;

/// How long the fetch may take; it is 45 MB.
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) const SERVICE: Service = Service {
    name: "kafka",
    about: "Kafka 4.1 (KRaft), one node",
    variables: &[BROKERS],
    optional: &[LOG, SERVER],
    answers,
    compose: Compose {
        file: include_str!("kafka/compose.yaml"),
        service: "kafka",
        ports: &[Port { inside: 9092, variable: BROKERS, scheme: "" }],
        log: LOG,
        optional: |folder| {
            let server = server(folder).with_context(|| format!("there is no {SERVER}"))?;
            Ok([(SERVER.to_owned(), server.display().to_string())].into())
        },
    },
    stop_signal: "TERM",
    native,
};

fn native(folder: &Path) -> Result<(Process, Variables)> {
    let needed = |program: &str| program != "mvn" || !is_fetched(folder);
    let missing: Vec<_> =
        PROGRAMS.into_iter().filter(|(program, _)| needed(program) && !debian::has(program)).collect();
    debian::install(folder, &missing)?;
    let server = server(folder)?;
    let shared = folder.join("shared");
    daemon::remove_data(&shared)?;
    let [port, controller] = probe::free_ports()?.map(|port| port.to_string());
    let process = Process::start(Command::new(&server).arg(&shared).args([&port, &controller]), folder)?;
    let variables = [
        (BROKERS, format!("127.0.0.1:{port}")),
        (LOG, daemon::log(folder).display().to_string()),
        (SERVER, server.display().to_string()),
    ];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// Puts the program that runs a broker into the folder, with all that it needs; what is there is not fetched again.
fn server(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("broker");
    let java = answer(program("java", folder).arg("--version")).context("java is missing")?;
    if java_release(&java).is_none_or(|release| release < JAVA) {
        bail!("java {JAVA} or later is needed; this one is {:?}", java.lines().next().unwrap_or_default());
    }
    if !is_fetched(folder) {
        fetch(folder)?;
    }
    if fs::read_to_string(&path).is_ok_and(|text| text == SCRIPT) {
        return Ok(path);
    }
    // Never half a script: somebody may be starting a broker at this moment.
    let new = folder.join("broker.new");
    fs::write(&new, SCRIPT)
        .and_then(|()| executable(&new))
        .and_then(|()| fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(unix)]
fn executable(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

/// There are no such permissions, nor a shell that would run it.
#[cfg(not(unix))]
fn executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The number in `openjdk 17.0.15 2025-04-15`, or in `java 21 2023-09-19 LTS`.
fn java_release(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Written last, so that a fetch that was cut off is not taken for a whole one.
fn marker(folder: &Path) -> PathBuf {
    folder.join("lib/fetched")
}

fn is_fetched(folder: &Path) -> bool {
    fs::read_to_string(marker(folder)).is_ok_and(|fetched| fetched == POM)
}

fn fetch(folder: &Path) -> Result<()> {
    let lib = folder.join("lib");
    if lib.exists() {
        println!("{} is of another version or not whole; fetching it anew", lib.display());
        fs::remove_dir_all(&lib).with_context(|| format!("cannot remove {}", lib.display()))?;
    }
    if !debian::has("mvn") {
        bail!("mvn is missing");
    }
    let write =
        |path: &Path| fs::write(path, POM).with_context(|| format!("cannot write {}", path.display()));
    write(&folder.join("pom.xml"))?;
    let maven = ["--batch-mode", "--quiet", "--file", "pom.xml", COPY];
    let options = ["-DincludeScope=runtime", "-DoutputDirectory=lib"];
    run_within(program("mvn", folder).args(maven).args(options), LIMIT)
        .context("Maven cannot fetch Kafka; what it says is above")?;
    write(&marker(folder))
}

/// A broker lists itself once it takes part in its cluster; before, clients could do nothing with its answers.
fn answers(variables: &Variables) -> Result<()> {
    let brokers = record::get(variables, BROKERS)?;
    let mut last = None;
    for address in brokers.split(',') {
        match members(address.trim()) {
            Ok(0) => last = Some(anyhow::anyhow!("{address} knows of no broker that is ready")),
            Ok(_) => {
                last = None;
                break;
            }
            Err(error) => last = Some(error),
        }
    }
    if let Some(error) = last {
        return Err(error).with_context(|| format!("{BROKERS} does not answer"));
    }
    for name in [LOG, SERVER] {
        if let Some(path) = variables.get(name).filter(|path| !Path::new(path).is_file()) {
            bail!("{name} is {path}, which is no file");
        }
    }
    Ok(())
}

/// How many brokers the one there lists: request and response of the Kafka protocol's Metadata, version 1, for no
/// topics. The lengths, keys and numbers of <https://kafka.apache.org/protocol> are big-endian.
fn members(address: &str) -> Result<i32> {
    const METADATA: [u8; 2] = [0, 3];
    const VERSION: [u8; 2] = [0, 1];
    const CORRELATION: [u8; 4] = *b"otel";
    const NO_CLIENT_ID: [u8; 2] = [0xff; 2];
    const NO_TOPICS: [u8; 4] = [0; 4];
    let request = [&METADATA[..], &VERSION[..], &CORRELATION[..], &NO_CLIENT_ID[..], &NO_TOPICS[..]].concat();
    let length = u32::try_from(request.len())?.to_be_bytes();
    let mut stream = probe::connect(address)?;
    let silent = || format!("{address} gives no answer");
    stream.write_all(&[&length[..], &request].concat()).with_context(silent)?;
    // Length, correlation, and the number of brokers, which are left unread.
    let mut head = [0; 12];
    stream.read_exact(&mut head).with_context(silent)?;
    let [_, _, _, _, correlation @ .., b0, b1, b2, b3] = head;
    if correlation != CORRELATION {
        bail!("{address} does not speak Kafka's protocol");
    }
    Ok(i32::from_be_bytes([b0, b1, b2, b3]))
}

#[cfg(test)]
mod tests;
