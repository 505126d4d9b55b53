//! Starting a service with `docker compose`, where an engine answers.

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

/// How long pulling the image and starting it may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// What Compose has to know of a service, and how its variables follow from what it did.
pub(super) struct Compose {
    /// The Compose file. Ports are published as `127.0.0.1::INSIDE`: the engine picks a free one. Where the server has
    /// to be told before it starts, `FREE_PORT` stands for one that we pick.
    pub(super) file: &'static str,
    /// The name in that file of the service that listens.
    pub(super) service: &'static str,
    pub(super) ports: &'static [Port],
    /// The variable that holds the path of the service's output.
    pub(super) log: &'static str,
    /// Makes what tests are told besides. They can do without: where it cannot be made, that is said and no error.
    pub(super) optional: fn(&Path) -> Result<Variables>,
}

pub(super) struct Port {
    pub(super) inside: u16,
    pub(super) variable: &'static str,
    /// What stands before the address in the variable.
    pub(super) scheme: &'static str,
}

/// Why there is no engine to ask, if there is none.
pub(super) fn engine(folder: &Path) -> Result<()> {
    let docker = || program("docker", folder);
    if answer(docker().arg("--version")).is_none() {
        bail!("docker is missing");
    }
    if answer(docker().args(["version", "--format", "{{.Server.Version}}"])).is_none() {
        bail!("docker is installed, but no engine answers");
    }
    if answer(docker().args(["compose", "version"])).is_none() {
        bail!("an engine answers, but docker has no `compose`");
    }
    Ok(())
}

impl Compose {
    /// Starts it under the project's name; what it prints is followed into the service's log until it ends.
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
                .with_context(|| format!("`docker compose port` does not say where {inside} is"))?;
            variables.insert((*variable).to_owned(), format!("{scheme}{address}"));
        }
        let path = daemon::log(folder);
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut follow = compose(project, folder);
        follow.args(["logs", "--follow", "--no-log-prefix", "--no-color", self.service]);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut follow, 0);
        // It goes on without us, and ends with the container.
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

/// The address that `docker compose port` prints; one published on IPv4 and IPv6 has a line for each.
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
    fn the_published_address_is_read() {
        assert_eq!(published("127.0.0.1:49153\n").unwrap(), "127.0.0.1:49153");
        assert_eq!(published("0.0.0.0:49153\n[::]:49154\n").unwrap(), "127.0.0.1:49153");
        // What it prints for a port that is not published.
        assert_eq!(published(":0"), None);
        assert_eq!(published(""), None);
    }
}
