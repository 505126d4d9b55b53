//! RabbitMQ 4, one node, for one step of `cargo xtask ci --full`: no test names it, and `cargo xtask services` does not
//! start it.
//!
//! The variables are those of `rabbitmq.rs` with the prefix `RABBITMQ_4`. Natively it is the broker of Debian 13, in a
//! folder of its own that `debootstrap` fills with 370 MB.

use std::{
    fs,
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
        rabbitmq::{SCHEME, SCRIPT, check},
        record::Variables,
        script,
    },
};

const URL: &str = "RABBITMQ_4_URL";
const LOG: &str = "RABBITMQ_4_LOG";
const SERVER: &str = "RABBITMQ_4_SERVER";

/// The version of Debian, which has RabbitMQ 4.0.
const SUITE: &str = "trixie";

/// Timeout of the installation, which takes two minutes.
const LIMIT: Duration = Duration::from_secs(15 * 60);

pub(super) const SERVICE: Service = Service {
    name: "rabbitmq-4",
    about: "RabbitMQ 4.0, one node",
    variables: &[URL],
    optional: &[LOG, SERVER],
    answers: |variables| check(variables, URL, [LOG, SERVER]),
    compose: Compose {
        file: "\
services:
  rabbitmq:
    image: rabbitmq:4.0
    ports: ['127.0.0.1::5672']
",
        service: "rabbitmq",
        ports: &[Port { inside: 5672, variable: URL, scheme: SCHEME }],
        log: LOG,
        optional: |folder| Ok([(SERVER.to_owned(), server(folder)?.display().to_string())].into()),
    },
    stop_signal: "TERM",
    missing,
    native,
};

fn missing(_folder: &Path) -> Vec<Requirement> {
    let programs = [("debootstrap", "debootstrap"), ("unshare", "util-linux")];
    programs.into_iter().filter(|(program, _)| !debian::has(program)).collect()
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    let server = server(folder)?;
    let data = folder.join("data");
    daemon::remove_data(&data)?;
    let [port, distribution, epmd] = probe::free_ports()?.map(|port| port.to_string());
    let process =
        Process::start(Command::new(&server).arg(&data).args([&port, &distribution, &epmd]), folder)?;
    let variables = [
        (URL, format!("{SCHEME}127.0.0.1:{port}")),
        (LOG, daemon::log(folder).display().to_string()),
        (SERVER, server.display().to_string()),
    ];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// Installs the system with the broker, and the program that runs it.
fn server(folder: &Path) -> Result<PathBuf> {
    debian::install(folder, &missing(folder))?;
    if !debian::is_root(folder) {
        bail!("only root can install and run RabbitMQ 4 in a folder of its own");
    }
    let root = folder.join("root");
    // Written last, so that an interrupted installation does not count as complete.
    let marker = folder.join("installed");
    if !marker.exists() {
        daemon::remove_data(&root)?;
        let mut install = program("debootstrap", folder);
        install.args(["--variant=minbase", "--include=rabbitmq-server", SUITE]).arg(&root);
        run_within(&mut install, LIMIT)?;
        fs::write(&marker, SUITE).with_context(|| format!("cannot write {}", marker.display()))?;
    }
    script::install(&root.join("usr/local/bin/broker"), SCRIPT)?;
    script::install(&folder.join("broker"), include_str!("rabbitmq/chroot.sh"))
}
