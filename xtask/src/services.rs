//! `cargo xtask services`: starts and stops the servers that tests connect to.
//!
//! This file owns the list of services and the command. `services/lifecycle.rs` finds or starts a server,
//! `services/record.rs` stores the state of a running one, and each service has its own file in `services/`.

mod collector;
mod compose;
pub(crate) mod compose_file;
pub(crate) mod consul;
mod daemon;
pub(crate) mod debian;
mod etcd;
mod go;
pub(crate) mod jaeger;
mod kafka;
pub(crate) mod kubernetes;
mod lifecycle;
mod mariadb;
mod nats;
pub(crate) mod opentelemetry_collector;
mod postgres;
pub(crate) mod probe;
pub(crate) mod prometheus;
pub(crate) mod python;
mod rabbitmq;
mod rabbitmq_4;
mod record;
mod redis;
pub(crate) mod running;
mod script;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, bail};

use crate::{
    repo::Repo,
    services::{
        compose::Compose,
        daemon::Process,
        debian::Requirement,
        lifecycle::{Host, Up},
        record::Variables,
    },
};

/// The description of one server. To add a service, define a constant like `collector::SERVICE` in a new file and list
/// it in `SERVICES`.
struct Service {
    name: &'static str,
    about: &'static str,
    /// Environment variables with its addresses. A developer who sets all of them uses an external server instead.
    variables: &'static [&'static str],
    /// Variables that an external server may leave unset, because only some tests need them.
    optional: &'static [&'static str],
    /// Fails unless the server at these addresses handles a request; an open port is not enough.
    answers: fn(&Variables) -> Result<()>,
    compose: Compose,
    /// The signal that shuts a native server down even while clients are connected.
    stop_signal: &'static str,
    /// Returns the programs that the native recipe lacks on this machine, given the service's folder.
    missing: fn(&Path) -> Vec<Requirement>,
    /// Starts a native server with its data in the folder and its output in `daemon::log`, without waiting until it is
    /// ready.
    native: fn(&Path) -> Result<(Process, Variables)>,
}

const SERVICES: &[Service] = &[
    collector::SERVICE,
    etcd::SERVICE,
    kafka::SERVICE,
    mariadb::SERVICE,
    nats::SERVICE,
    postgres::SERVICE,
    rabbitmq::SERVICE,
    redis::SERVICE,
];

/// The names of all services.
pub(crate) fn names() -> Vec<&'static str> {
    SERVICES.iter().map(|service| service.name).collect()
}

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    let (options, arguments): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| *argument == "--yes");
    if !options.is_empty() {
        debian::allow_install();
    }
    let Some((action, names)) = arguments.split_first() else {
        bail!("missing action; expected one of: up, down, status");
    };
    let services = select(names)?;
    let host = Host::new(&Repo::open()?.root);
    match action.as_str() {
        "up" => {
            for service in services {
                let (how, record) = lifecycle::up(service, &host)?;
                println!("{}: {}", service.name, how.text(&record));
                print!("{}", record::exports(&record.variables));
            }
            println!("variables written to {}", host.environment_file().display());
            Ok(())
        }
        "down" => {
            // A failure must not keep the remaining services running, so errors are collected first.
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
        _ => bail!("unknown action `{action}`; expected one of: up, down, status"),
    }
}

fn down(service: &Service, host: &Host) -> Result<()> {
    match lifecycle::down(service, host) {
        Ok(what) => println!("{}: {what}", service.name),
        Err(error) => {
            eprintln!("error: {}: {error:#}", service.name);
            return Err(error.context(format!("cannot stop service {}", service.name)));
        }
    }
    Ok(())
}

/// Returns the services with these names, or all services if the list is empty.
fn select<S: AsRef<str>>(wanted: &[S]) -> Result<Vec<&'static Service>> {
    if let Some(unknown) = wanted.iter().find(|name| !names().contains(&name.as_ref())) {
        bail!("unknown service `{}`; expected one of: {}", unknown.as_ref(), names().join(", "));
    }
    let named = |service: &&Service| wanted.iter().any(|name| name.as_ref() == service.name);
    Ok(SERVICES.iter().filter(|service| wanted.is_empty() || named(service)).collect())
}

/// Installs the system packages that these services need on this machine, with permission; otherwise returns an error
/// that names them. A service that the environment names, that is up, or that docker compose can start needs none.
pub(crate) fn install_packages(root: &Path, names: &[&str]) -> Result<()> {
    let services = if names.is_empty() { Vec::new() } else { select(names)? };
    let host = Host::new(root);
    let native = services.into_iter().filter(|service| lifecycle::needs_recipe(service, &host, root));
    let missing: Vec<_> =
        native.flat_map(|service| (service.missing)(&host.service_folder(service))).collect();
    debian::install(root, &missing)
}

/// A guard that keeps services running. Dropping it stops the services that it started; services that were already
/// running stay up.
pub(crate) struct Lease {
    host: Host,
    started: Vec<&'static Service>,
    variables: Variables,
}

impl Lease {
    /// Starts the named services; if one fails, the ones started before it are stopped. Does nothing without names.
    pub(crate) fn take(root: &Path, names: &[&str]) -> Result<Self> {
        let services = if names.is_empty() { Vec::new() } else { select(names)? };
        Self::start(Host::new(root), &services)
    }

    fn start(host: Host, services: &[&'static Service]) -> Result<Self> {
        let mut lease = Self { host, started: Vec::new(), variables: Variables::default() };
        for service in services {
            let (how, record) = lifecycle::up(service, &lease.host)?;
            println!("{}: {}", service.name, how.text(&record));
            lease.variables.extend(record.variables);
            if how == Up::Started {
                lease.started.push(service);
            }
        }
        Ok(lease)
    }

    /// Starts RabbitMQ 4, which is in no list of services.
    pub(crate) fn take_rabbitmq_4(root: &Path) -> Result<Self> {
        Self::start(Host::new(root), &[&rabbitmq_4::SERVICE])
    }

    /// Starts the OpenTelemetry Collector, which is in no list of services.
    pub(crate) fn take_opentelemetry_collector(root: &Path) -> Result<Self> {
        Self::start(Host::new(root), &[&opentelemetry_collector::SERVICE])
    }

    /// The environment variables with the addresses of the services.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for service in self.started.iter().rev() {
            // `down` has printed the error, and `drop` cannot return it.
            let _ = down(service, &self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SERVICES, command, names, select};

    #[test]
    fn services_are_selected_by_name() {
        let selected = |wanted: &[&str]| {
            select(wanted).map(|services| services.iter().map(|service| service.name).collect::<Vec<_>>())
        };
        assert_eq!(selected(&[]).unwrap(), names());
        assert_eq!(selected(&["collector"]).unwrap(), ["collector"]);
        let error = selected(&["colector"]).unwrap_err().to_string();
        assert!(error.starts_with("unknown service `colector`; expected one of: collector"), "{error}");
    }

    #[test]
    fn an_unknown_action_is_an_error_with_the_list() {
        let error = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            command(&arguments).unwrap_err().to_string()
        };
        assert_eq!(error(&[]), "missing action; expected one of: up, down, status");
        assert_eq!(error(&["start"]), "unknown action `start`; expected one of: up, down, status");
    }

    #[test]
    fn every_service_has_variables_for_its_log_and_ports() {
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
