//! Services in containers, started with `docker compose`.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{answer, program, run_within},
    services::{daemon, probe, record::Variables},
};

/// Timeout of one `docker compose` command, which may include pulling the image.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The Compose file of a service, and the mapping from its published ports to the service's variables.
pub(super) struct Compose {
    /// The text of the Compose file. Ports are published as `127.0.0.1::INSIDE`, so that the engine picks a free host
    /// port. `FREE_PORT` is replaced by a free port, for a server that needs its host port in its configuration.
    pub(super) file: &'static str,
    /// The name in that file of the service whose ports and output are used.
    pub(super) service: &'static str,
    pub(super) ports: &'static [Port],
    /// The variable for the path of the log file.
    pub(super) log: &'static str,
    /// Computes the optional variables. An error is printed and does not stop the start.
    pub(super) optional: fn(&Path) -> Result<Variables>,
}

pub(super) struct Port {
    pub(super) inside: u16,
    pub(super) variable: &'static str,
    /// The prefix of the address in the variable.
    pub(super) scheme: &'static str,
}

/// Fails with the reason if `docker compose` cannot be used.
pub(super) fn engine(folder: &Path) -> Result<()> {
    let docker = || program("docker", folder);
    if answer(docker().arg("--version")).is_none() {
        bail!("docker is not installed");
    }
    if answer(docker().args(["version", "--format", "{{.Server.Version}}"])).is_none() {
        bail!("docker is installed, but its engine is not running");
    }
    if answer(docker().args(["compose", "version"])).is_none() {
        bail!("docker is installed, but its `compose` plugin is not");
    }
    Ok(())
}

impl Compose {
    /// Starts the containers under the project's name, and copies their output to the log file until they stop.
    pub(super) fn up(&self, project: &str, folder: &Path) -> Result<Variables> {
        let file = folder.join("compose.yaml");
        let [port] = probe::free_ports()?;
        fs::write(&file, self.file.replace("FREE_PORT", &port.to_string()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        run_within(compose(project, folder).args(["up", "--detach", "--wait"]), LIMIT)?;
        let mut variables = Variables::new();
        for Port { inside, variable, scheme } in self.ports {
            let inside = inside.to_string();
            let address = answer(compose(project, folder).args(["port", self.service, &inside]))
                .and_then(|text| published(&text))
                .with_context(|| format!("`docker compose port` printed no address for port {inside}"))?;
            variables.insert((*variable).to_owned(), format!("{scheme}{address}"));
        }
        let path = daemon::log(folder);
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut follow = compose(project, folder);
        follow.args(["logs", "--follow", "--no-log-prefix", "--no-color", self.service]);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut follow, 0);
        // Not awaited: it keeps running after xtask exits, and ends with the container.
        follow.stdout(log).stderr(Stdio::null()).spawn().context("cannot follow the container's output")?;
        variables.insert(self.log.to_owned(), path.display().to_string());
        match (self.optional)(folder) {
            Ok(optional) => variables.extend(optional),
            Err(error) => println!("{}: {error:#}", self.service),
        }
        Ok(variables)
    }
}

pub(super) fn down(project: &str, folder: &Path) -> Result<()> {
    run_within(compose(project, folder).args(["down", "--volumes"]), LIMIT)
}

fn compose(project: &str, folder: &Path) -> Command {
    let mut command = program("docker", folder);
    command.args(["compose", "--project-name", project, "--file", "compose.yaml"]);
    command
}

/// Parses the output of `docker compose port`, which has a line for IPv4 and one for IPv6 if both are published.
fn published(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let (host, port) = line.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let host = if matches!(host, "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::published;

    #[test]
    fn the_published_address_is_parsed() {
        assert_eq!(published("127.0.0.1:49153\n").unwrap(), "127.0.0.1:49153");
        assert_eq!(published("0.0.0.0:49153\n[::]:49154\n").unwrap(), "127.0.0.1:49153");
        // The output for a port that is not published.
        assert_eq!(published(":0"), None);
        assert_eq!(published(""), None);
    }
}
