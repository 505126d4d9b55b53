//! Finding, starting and stopping a server. Every service is resolved in the same order: an external server from the
//! environment, a server that is already running, `docker compose`, a native process, and finally an error with the
//! reason for each of them. Only servers that xtask has started are stopped.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::services::{
    SERVICES, Service, compose,
    daemon::log_end,
    record::{Record, Server, Variables, write_environment},
};

/// The surroundings that decide how a service is started: its folder, the environment, the container engine. Tests
/// substitute each of them.
pub(super) struct Host {
    folder: PathBuf,
    environment: fn(&str) -> Option<String>,
    engine: fn(&Path) -> Result<()>,
    /// Timeout from a server's start to its first successful health check.
    patience: Duration,
}

/// The result of [`up`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Up {
    External,
    Running,
    Started,
}

impl Up {
    pub(super) fn text(self, record: &Record) -> String {
        match self {
            Self::External => record.server.to_string(),
            Self::Running => format!("already running, {}", record.server),
            Self::Started => format!("started, {}", record.server),
        }
    }
}

impl Host {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            folder: root.join("target/services"),
            environment: |name| env::var(name).ok().filter(|value| !value.is_empty()),
            engine: compose::engine,
            patience: Duration::from_secs(120),
        }
    }

    pub(super) fn environment_file(&self) -> PathBuf {
        self.folder.join("env")
    }

    pub(super) fn service_folder(&self, service: &Service) -> PathBuf {
        self.folder.join(service.name)
    }

    /// Locks the folder while a server is started or stopped, so that two runs of xtask do not start it twice.
    fn lock(&self) -> Result<File> {
        let what = || format!("cannot write in {}", self.folder.display());
        fs::create_dir_all(&self.folder).with_context(what)?;
        let file = File::create(self.folder.join("lock")).with_context(what)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                println!("waiting for another `cargo xtask services`");
                file.lock().with_context(what)?;
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(what),
        }
        Ok(file)
    }

    fn keep(&self, service: &Service, record: &Record) -> Result<()> {
        record.write(&self.service_folder(service))?;
        self.write_environment(service)
    }

    fn forget(&self, service: &Service) -> Result<()> {
        Record::remove(&self.service_folder(service))?;
        self.write_environment(service)
    }

    fn write_environment(&self, changed: &Service) -> Result<()> {
        let others = SERVICES.iter().filter(|service| service.name != changed.name);
        let folders: Vec<_> = others.chain([changed]).map(|service| self.service_folder(service)).collect();
        write_environment(&self.environment_file(), folders.iter().map(PathBuf::as_path))
    }
}

/// Finds or starts the server, and returns once it passes its health check.
pub(super) fn up(service: &Service, host: &Host) -> Result<(Up, Record)> {
    let _lock = host.lock()?;
    let folder = host.service_folder(service);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let recorded = Record::read(&folder)?;
    if let Some(variables) = external(service, host, recorded.as_ref())? {
        (service.answers)(&variables).with_context(|| {
            let list = service.variables.join(", ");
            format!(
                "{}: the server named by the environment does not answer; start it, or unset {list}",
                service.name
            )
        })?;
        if let Some(old) = recorded {
            stop(service, &old, &folder)?;
        }
        let record = Record { server: Server::External, variables };
        host.keep(service, &record)?;
        return Ok((Up::External, record));
    }
    if let Some(record) = recorded {
        match recheck(service, &record) {
            Ok(()) => {
                host.keep(service, &record)?;
                return Ok((Up::Running, record));
            }
            Err(error) => println!("{}: {} is no longer usable: {error:#}", service.name, record.server),
        }
        stop(service, &record, &folder)?;
        host.forget(service)?;
    }
    let composed = match (host.engine)(&folder).and_then(|()| start_composed(service, host, &folder)) {
        Ok(record) => return Ok((Up::Started, record)),
        Err(error) => error,
    };
    println!("{}: cannot start with docker compose: {composed:#}", service.name);
    match native(service, host, &folder) {
        Ok(record) => Ok((Up::Started, record)),
        Err(native) => bail!(
            "cannot start {}; one of these has to be fixed:\n  \
             environment: {} {} not set\n  docker compose: {composed:#}\n  native: {native:#}",
            service.name,
            service.variables.join(", "),
            if service.variables.len() == 1 { "is" } else { "are" },
        ),
    }
}

/// Returns true if only the native recipe can start the service: the environment does not name it, no record says that
/// it runs, and no engine answers.
pub(super) fn needs_recipe(service: &Service, host: &Host, root: &Path) -> bool {
    let is_named = service.variables.iter().any(|name| (host.environment)(name).is_some());
    let is_recorded = Record::read(&host.service_folder(service)).is_ok_and(|record| record.is_some());
    !is_named && !is_recorded && (host.engine)(root).is_err()
}

/// Stops the server if xtask has started it, and returns a description of the outcome.
pub(super) fn down(service: &Service, host: &Host) -> Result<String> {
    let _lock = host.lock()?;
    let folder = host.service_folder(service);
    let Some(record) = Record::read(&folder)? else {
        return Ok("not running".to_owned());
    };
    stop(service, &record, &folder)?;
    host.forget(service)?;
    Ok(match record.server {
        Server::External => "left running, because xtask did not start it".to_owned(),
        server => format!("stopped, {server}"),
    })
}

/// Describes the state of the service in a few words.
pub(super) fn status(service: &Service, host: &Host) -> String {
    match Record::read(&host.service_folder(service)) {
        Err(error) => format!("{error:#}"),
        Ok(None) => "not running".to_owned(),
        Ok(Some(record)) => match alive(&record).and_then(|()| (service.answers)(&record.variables)) {
            Ok(()) => format!("answers, {}", record.server),
            Err(error) => format!("does not answer, {}: {error:#}", record.server),
        },
    }
}

/// Returns the variables of an external server, if the environment has them. Variables with the values of the recorded
/// server do not count, not even some of them, because the file with its variables may have been sourced.
fn external(service: &Service, host: &Host, recorded: Option<&Record>) -> Result<Option<Variables>> {
    let set = |name: &&str| Some(((*name).to_owned(), (host.environment)(name)?));
    let external: Variables = service.variables.iter().chain(service.optional).filter_map(set).collect();
    let is_recorded = recorded.is_some_and(|record| match record.server {
        Server::External => record.variables == external,
        _ => external.iter().all(|(name, value)| record.variables.get(name) == Some(value)),
    });
    if external.is_empty() || is_recorded {
        return Ok(None);
    }
    let missing: Vec<_> =
        service.variables.iter().filter(|name| !external.contains_key(**name)).copied().collect();
    if !missing.is_empty() {
        let set: Vec<_> = external.keys().map(String::as_str).collect();
        bail!(
            "{}: {} set in the environment, but not {}; set all of them or none",
            service.name,
            set.join(", "),
            missing.join(", ")
        );
    }
    Ok(Some(external))
}

/// Fails if the server is a native process that has exited; other servers are not checked.
fn alive(record: &Record) -> Result<()> {
    match &record.server {
        Server::Native(process) if !process.is_running() => bail!("the process has exited"),
        _ => Ok(()),
    }
}

/// Repeats the health check for a short time, because a busy server may miss the first one.
fn recheck(service: &Service, record: &Record) -> Result<()> {
    wait(service, record, Duration::from_secs(3))
}

/// Repeats the health check until it passes, the process exits, or the timeout expires.
fn wait(service: &Service, record: &Record, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        alive(record)?;
        match (service.answers)(&record.variables) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("no answer within {patience:?}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn start_composed(service: &Service, host: &Host, folder: &Path) -> Result<Record> {
    let project = format!("otel-{}-{}", service.name, process::id());
    let mut record =
        Record { server: Server::Compose { project: project.clone() }, variables: Variables::new() };
    // Written before the start, so that `down` can stop the containers of an interrupted start.
    record.write(folder)?;
    let started = service.compose.up(&project, folder).map(|variables| record.variables = variables);
    finish(service, host, folder, record, started)
}

fn native(service: &Service, host: &Host, folder: &Path) -> Result<Record> {
    let (process, variables) = (service.native)(folder)?;
    let record = Record { server: Server::Native(process), variables };
    let kept = record.write(folder);
    finish(service, host, folder, record, kept)
}

/// Waits for the first successful health check; stops the server if there is none.
fn finish(
    service: &Service,
    host: &Host,
    folder: &Path,
    record: Record,
    started: Result<()>,
) -> Result<Record> {
    let answered = started.and_then(|()| {
        wait(service, &record, host.patience)
            .with_context(|| format!("the server did not start ({})", log_end(folder)))
    });
    match answered.and_then(|()| host.keep(service, &record)) {
        Ok(()) => Ok(record),
        Err(error) => {
            // If stopping fails, the record is kept, so that `down` can try again.
            stop(service, &record, folder).and_then(|()| host.forget(service)).unwrap_or_else(|stop_error| {
                println!("{}: cannot stop the server either: {stop_error:#}", service.name);
            });
            Err(error)
        }
    }
}

fn stop(service: &Service, record: &Record, folder: &Path) -> Result<()> {
    match &record.server {
        Server::External => Ok(()),
        Server::Compose { project } => compose::down(project, folder),
        Server::Native(process) => process.stop(service.stop_signal),
    }
}

#[cfg(test)]
pub(super) mod tests;
