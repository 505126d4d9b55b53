//! `cargo xtask services`: the servers that tests talk to, started and stopped.
//!
//! This file owns the list of services and the command. How a server is found or started is in `services/lifecycle.rs`,
//! what is remembered of it in `services/record.rs`; each service is a file of its own beside them.

mod collector;
mod compose;
mod daemon;
pub(crate) mod debian;
mod kafka;
mod lifecycle;
mod postgres;
mod probe;
mod python;
mod record;

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    repo::Repo,
    services::{
        compose::Compose,
        daemon::Process,
        lifecycle::{Host, Up},
        record::Variables,
    },
};

/// One server. A new one is a file with a table like `collector::SERVICE` and an entry in `SERVICES`.
struct Service {
    name: &'static str,
    about: &'static str,
    /// The environment variables that say where it is. Who sets them, all of them, brings a server of their own.
    variables: &'static [&'static str],
    /// More variables, which a server of one's own may lack: not every test needs them.
    optional: &'static [&'static str],
    /// Whether the server that the variables name does its work, and not only listens.
    answers: fn(&Variables) -> Result<()>,
    compose: Compose,
    /// The signal that asks a native one to end, clients or not.
    stop_signal: &'static str,
    /// Starts it on this machine, its data in the folder and its output in `daemon::log`; does not wait for it.
    native: fn(&Path) -> Result<(Process, Variables)>,
}

const SERVICES: &[Service] = &[collector::SERVICE, kafka::SERVICE, postgres::SERVICE];

/// The services that exist.
pub(crate) fn names() -> Vec<&'static str> {
    SERVICES.iter().map(|service| service.name).collect()
}

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    let Some((action, names)) = arguments.split_first() else {
        bail!("which action? There are: up, down, status");
    };
    let services = chosen(names)?;
    let host = Host::new(&Repo::open()?.root);
    match action.as_str() {
        "up" => {
            for service in services {
                let (how, record) = lifecycle::up(service, &host)?;
                println!("{}: {}", service.name, how.text(&record));
                print!("{}", record::exports(&record.variables));
            }
            println!("written to {}", host.environment_file().display());
            Ok(())
        }
        "down" => {
            // One that does not stop is no reason to leave the others.
            let failures: Vec<_> = services.iter().filter_map(|service| down(service, &host).err()).collect();
            match failures.into_iter().next() {
                Some(error) => Err(error),
                None => Ok(()),
            }
        }
        "status" => {
            for service in services {
                println!("{:<12} {:<60} {}", service.name, lifecycle::status(service, &host), service.about);
            }
            Ok(())
        }
        _ => bail!("there is no action `{action}`. There are: up, down, status"),
    }
}

fn down(service: &Service, host: &Host) -> Result<()> {
    match lifecycle::down(service, host) {
        Ok(what) => println!("{}: {what}", service.name),
        Err(error) => {
            eprintln!("error: {}: {error:#}", service.name);
            return Err(error.context(format!("{} was not stopped", service.name)));
        }
    }
    Ok(())
}

/// The services that were named; all of them if none was.
fn chosen<S: AsRef<str>>(wanted: &[S]) -> Result<Vec<&'static Service>> {
    if let Some(unknown) = wanted.iter().find(|name| !names().contains(&name.as_ref())) {
        bail!("there is no service `{}`. There are: {}", unknown.as_ref(), names().join(", "));
    }
    let named = |service: &&Service| wanted.iter().any(|name| name.as_ref() == service.name);
    Ok(SERVICES.iter().filter(|service| wanted.is_empty() || named(service)).collect())
}

/// Services that are up for as long as this lives. On drop those are stopped that were started for it, and no others.
pub(crate) struct Lease {
    host: Host,
    started: Vec<&'static Service>,
}

impl Lease {
    /// Brings the services up; if one fails, those before it are stopped again. Without names there is nothing to do.
    pub(crate) fn take(root: &Path, names: &[&str]) -> Result<Self> {
        let services = if names.is_empty() { Vec::new() } else { chosen(names)? };
        Self::start(Host::new(root), &services)
    }

    fn start(host: Host, services: &[&'static Service]) -> Result<Self> {
        let mut lease = Self { host, started: Vec::new() };
        for service in services {
            let (how, record) = lifecycle::up(service, &lease.host)?;
            println!("{}: {}", service.name, how.text(&record));
            if how == Up::Started {
                lease.started.push(service);
            }
        }
        Ok(lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for service in self.started.iter().rev() {
            // What went wrong has been said, and there is nobody to give it to.
            let _ = down(service, &self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SERVICES, chosen, command, names};

    #[test]
    fn services_are_chosen_by_name() {
        let found = |wanted: &[&str]| {
            chosen(wanted).map(|services| services.iter().map(|service| service.name).collect::<Vec<_>>())
        };
        assert_eq!(found(&[]).unwrap(), names());
        assert_eq!(found(&["collector"]).unwrap(), ["collector"]);
        let error = found(&["colector"]).unwrap_err().to_string();
        assert!(error.starts_with("there is no service `colector`. There are: collector"), "{error}");
    }

    #[test]
    fn a_wrong_action_is_answered_with_the_list() {
        let error = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            command(&arguments).unwrap_err().to_string()
        };
        assert_eq!(error(&[]), "which action? There are: up, down, status");
        assert_eq!(error(&["start"]), "there is no action `start`. There are: up, down, status");
    }

    #[test]
    fn every_service_says_where_it_logs() {
        for service in SERVICES {
            let log = service.compose.log;
            let mut variables = service.variables.iter().chain(service.optional);
            assert!(variables.any(|variable| *variable == log), "{}: {log}", service.name);
            for port in service.compose.ports {
                assert!(service.variables.contains(&port.variable), "{}: {}", service.name, port.variable);
            }
        }
    }
}
