//! Kafka 4.1, one node that is broker and controller (KRaft).
//!
//! `KAFKA_BROKERS` is the address of the shared broker, HOST:PORT, or a comma-separated list of several. `KAFKA_LOG` is
//! the path of its log file. The broker starts without data, does not create topics automatically, and does not delay
//! the first rebalance of a group.
//!
//! `KAFKA_SERVER` is the path of a program that runs a private broker, for tests that stop and restart one:
//! `$KAFKA_SERVER FOLDER PORT CONTROLLER_PORT`. It runs in the foreground. SIGKILL is a crash; SIGTERM and end of file
//! on its standard input are an orderly shutdown. A restart with the same arguments keeps the data; the details are in
//! `xtask/src/services/kafka/broker.sh`. The program needs Java and the files that Maven fetches. The native server
//! installs both and runs through this program; next to a container, the program is created only if both are already
//! installed. An external broker may leave the variable unset, and a test that needs it then fails with an error.

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
        debian::{self, Requirement},
        probe,
        record::{self, Variables},
        script,
    },
};

const BROKERS: &str = "KAFKA_BROKERS";
const LOG: &str = "KAFKA_LOG";
const SERVER: &str = "KAFKA_SERVER";

/// The dependencies that Maven fetches, with Kafka's version.
const POM: &str = include_str!("kafka/pom.xml");
const SCRIPT: &str = include_str!("kafka/broker.sh");
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Pairs of program and Debian package. Kafka brokers need Java 17.
const PROGRAMS: [(&str, &str); 2] = [("java", "openjdk-17-jre-headless"), ("mvn", "maven")];
const JAVA: u32 = 17;

/// Timeout of the download of 45 MB.
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
            let server = server(folder).with_context(|| format!("{SERVER} is not available"))?;
            Ok([(SERVER.to_owned(), server.display().to_string())].into())
        },
    },
    stop_signal: "TERM",
    missing,
    native,
};

/// Maven only fetches the broker.
fn missing(folder: &Path) -> Vec<Requirement> {
    let is_needed = |program: &str| program != "mvn" || !is_fetched(folder);
    PROGRAMS.into_iter().filter(|(program, _)| is_needed(program) && !debian::has(program)).collect()
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    debian::install(folder, &missing(folder))?;
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

/// Installs the program that runs a broker, and the files that it needs unless an earlier call has fetched them.
fn server(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("broker");
    let java = answer(program("java", folder).arg("--version")).context("java is not installed")?;
    if java_release(&java).is_none_or(|release| release < JAVA) {
        bail!("java {JAVA} or later is required; found {:?}", java.lines().next().unwrap_or_default());
    }
    if !is_fetched(folder) {
        fetch(folder)?;
    }
    script::install(&path, SCRIPT)
}

/// Parses the release number in `openjdk 17.0.15 2025-04-15`, or in `java 21 2023-09-19 LTS`.
fn java_release(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Written last, so that an interrupted download does not count as complete.
fn marker(folder: &Path) -> PathBuf {
    folder.join("lib/fetched")
}

fn is_fetched(folder: &Path) -> bool {
    fs::read_to_string(marker(folder)).is_ok_and(|fetched| fetched == POM)
}

fn fetch(folder: &Path) -> Result<()> {
    let lib = folder.join("lib");
    if lib.exists() {
        println!("{} is incomplete or has a different version; fetching it again", lib.display());
        fs::remove_dir_all(&lib).with_context(|| format!("cannot remove {}", lib.display()))?;
    }
    if !debian::has("mvn") {
        bail!("mvn is not installed");
    }
    let write =
        |path: &Path| fs::write(path, POM).with_context(|| format!("cannot write {}", path.display()));
    write(&folder.join("pom.xml"))?;
    let maven = ["--batch-mode", "--quiet", "--file", "pom.xml", COPY];
    let options = ["-DincludeScope=runtime", "-DoutputDirectory=lib"];
    run_within(program("mvn", folder).args(maven).args(options), LIMIT)
        .context("Maven cannot fetch Kafka; its output is above")?;
    write(&marker(folder))
}

/// Succeeds if one of the brokers lists at least one broker: a broker lists itself once it has joined its cluster, and
/// clients cannot use it before.
fn answers(variables: &Variables) -> Result<()> {
    let brokers = record::get(variables, BROKERS)?;
    let mut last = None;
    for address in brokers.split(',') {
        match members(address.trim()) {
            Ok(0) => last = Some(anyhow::anyhow!("{address} lists no broker that is ready")),
            Ok(_) => {
                last = None;
                break;
            }
            Err(error) => last = Some(error),
        }
    }
    if let Some(error) = last {
        return Err(error).with_context(|| format!("{BROKERS}: no answer"));
    }
    for name in [LOG, SERVER] {
        if let Some(path) = variables.get(name).filter(|path| !Path::new(path).is_file()) {
            bail!("{name}: {path} is not a file");
        }
    }
    Ok(())
}

/// Returns the number of brokers that the broker at `address` lists, by a Metadata request, version 1, without topics.
/// Lengths, keys and numbers of <https://kafka.apache.org/protocol> are big-endian.
fn members(address: &str) -> Result<i32> {
    const METADATA: [u8; 2] = [0, 3];
    const VERSION: [u8; 2] = [0, 1];
    const CORRELATION: [u8; 4] = *b"otel";
    const NO_CLIENT_ID: [u8; 2] = [0xff; 2];
    const NO_TOPICS: [u8; 4] = [0; 4];
    let request = [&METADATA[..], &VERSION[..], &CORRELATION[..], &NO_CLIENT_ID[..], &NO_TOPICS[..]].concat();
    let length = u32::try_from(request.len())?.to_be_bytes();
    let mut stream = probe::connect(address)?;
    let silent = || format!("{address} sent no response");
    stream.write_all(&[&length[..], &request].concat()).with_context(silent)?;
    // Length, correlation ID and number of brokers; the list of brokers that follows is not read.
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
