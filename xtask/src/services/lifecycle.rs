//! The order in which a server is looked for and started, the same for every service: an address given by the
//! environment, one that is up already, `docker compose`, the native recipe, and then an error that says what is
//! missing for each. No server is ever stopped that was not started here.

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

/// Where services live, and what around them decides which way is taken; tests put something else in its place.
pub(super) struct Host {
    folder: PathBuf,
    environment: fn(&str) -> Option<String>,
    engine: fn(&Path) -> Result<()>,
    /// How long a server may take from its start to its first answer.
    patience: Duration,
}

/// How a service came to be up.
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
            Self::Running => format!("is up already, {}", record.server),
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

    fn service_folder(&self, service: &Service) -> PathBuf {
        self.folder.join(service.name)
    }

    /// Held while something is started or stopped, so that two calls do not do it twice.
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

/// Finds the server or starts it; when this is back, it answers.
pub(super) fn up(service: &Service, host: &Host) -> Result<(Up, Record)> {
    let _lock = host.lock()?;
    let folder = host.service_folder(service);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let recorded = Record::read(&folder)?;
    if let Some(variables) = given(service, host, recorded.as_ref())? {
        (service.answers)(&variables).with_context(|| {
            let list = service.variables.join(", ");
            format!(
                "{}: the environment names a server that does not answer; start it, or unset {list}",
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
            Err(error) => println!("{}: {} is of no use any more: {error:#}", service.name, record.server),
        }
        stop(service, &record, &folder)?;
        host.forget(service)?;
    }
    let composed = match (host.engine)(&folder).and_then(|()| start_composed(service, host, &folder)) {
        Ok(record) => return Ok((Up::Started, record)),
        Err(error) => error,
    };
    println!("{}: not by docker compose: {composed:#}", service.name);
    match native(service, host, &folder) {
        Ok(record) => Ok((Up::Started, record)),
        Err(native) => bail!(
            "{} is not up, and no way leads there; one of these has to be mended:\n  \
             environment: {} {} not set\n  docker compose: {composed:#}\n  native recipe: {native:#}",
            service.name,
            service.variables.join(", "),
            if service.variables.len() == 1 { "is" } else { "are" },
        ),
    }
}

/// Stops what was started here; says what it did.
pub(super) fn down(service: &Service, host: &Host) -> Result<String> {
    let _lock = host.lock()?;
    let folder = host.service_folder(service);
    let Some(record) = Record::read(&folder)? else {
        return Ok("is not up".to_owned());
    };
    stop(service, &record, &folder)?;
    host.forget(service)?;
    Ok(match record.server {
        Server::External => "left alone, for it was not started here".to_owned(),
        server => format!("stopped, {server}"),
    })
}

/// How the service is, in a few words.
pub(super) fn status(service: &Service, host: &Host) -> String {
    match Record::read(&host.service_folder(service)) {
        Err(error) => format!("{error:#}"),
        Ok(None) => "is not up".to_owned(),
        Ok(Some(record)) => match alive(&record).and_then(|()| (service.answers)(&record.variables)) {
            Ok(()) => format!("answers, {}", record.server),
            Err(error) => format!("does not answer, {}: {error:#}", record.server),
        },
    }
}

/// The variables of a server that somebody else runs, if the environment has them. Those of our own server do not
/// count, nor do some of them: they are there when the file that we wrote was sourced.
fn given(service: &Service, host: &Host, recorded: Option<&Record>) -> Result<Option<Variables>> {
    let set = |name: &&str| Some(((*name).to_owned(), (host.environment)(name)?));
    let given: Variables = service.variables.iter().chain(service.optional).filter_map(set).collect();
    let known = recorded.is_some_and(|record| match record.server {
        Server::External => record.variables == given,
        _ => given.iter().all(|(name, value)| record.variables.get(name) == Some(value)),
    });
    if given.is_empty() || known {
        return Ok(None);
    }
    let missing: Vec<_> =
        service.variables.iter().filter(|name| !given.contains_key(**name)).copied().collect();
    if !missing.is_empty() {
        let set: Vec<_> = given.keys().map(String::as_str).collect();
        bail!(
            "{}: the environment has {} but not {}; set all of them, or none",
            service.name,
            set.join(", "),
            missing.join(", ")
        );
    }
    Ok(Some(given))
}

/// Whether a process of ours is there at all; of the others only an answer tells.
fn alive(record: &Record) -> Result<()> {
    match &record.server {
        Server::Native(process) if !process.is_running() => bail!("the process has ended"),
        _ => Ok(()),
    }
}

/// A server that is busy gets a second chance.
fn recheck(service: &Service, record: &Record) -> Result<()> {
    wait(service, record, Duration::from_secs(3))
}

/// Asks until it answers, its process ends, or it takes too long.
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
    // Kept first, so that what an interrupted start leaves behind can be stopped.
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

/// Waits for the first answer; a server that does not give it is stopped.
fn finish(
    service: &Service,
    host: &Host,
    folder: &Path,
    record: Record,
    started: Result<()>,
) -> Result<Record> {
    let answered = started.and_then(|()| {
        wait(service, &record, host.patience)
            .with_context(|| format!("it did not start ({})", log_end(folder)))
    });
    match answered.and_then(|()| host.keep(service, &record)) {
        Ok(()) => Ok(record),
        Err(error) => {
            // The record stays where stopping fails, so that `down` can try again.
            stop(service, &record, folder).and_then(|()| host.forget(service)).unwrap_or_else(|left| {
                println!("{}: and it could not be stopped: {left:#}", service.name);
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
