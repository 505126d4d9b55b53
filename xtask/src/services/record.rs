//! The stored state of running services: one file per service with the kind of server and its variables, and one file
//! with the variables of all services, for tests and shells.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, ErrorKind},
    path::Path,
};

use anyhow::{Context, Result};

use crate::services::daemon::Process;

/// The environment variables of a server, by name.
pub(super) type Variables = BTreeMap<String, String>;

pub(super) fn get<'a>(variables: &'a Variables, name: &str) -> Result<&'a str> {
    variables.get(name).map(String::as_str).with_context(|| format!("{name} is not set"))
}

/// The kind of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// Named by the environment; never stopped by xtask.
    External,
    Compose {
        project: String,
    },
    Native(Process),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => f.write_str("external, from the environment"),
            Self::Compose { project } => write!(f, "docker compose project {project}"),
            Self::Native(process) => write!(f, "process {}", process.id),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) server: Server,
    pub(super) variables: Variables,
}

impl Record {
    /// Reads the record in the service's folder. An invalid file counts as no record.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("record");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let record = Self::parse(&text);
                if record.is_none() {
                    println!("{} is invalid and is ignored", path.display());
                }
                Ok(record)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        replace(&folder.join("record"), &self.text())
    }

    pub(super) fn remove(folder: &Path) -> Result<()> {
        remove(&folder.join("record"))
    }

    fn text(&self) -> String {
        let first = match &self.server {
            Server::External => "given".to_owned(),
            Server::Compose { project } => format!("compose {project}"),
            Server::Native(Process { id, start_time }) => format!("process {id} {start_time}"),
        };
        let rest = self.variables.iter().map(|(name, value)| format!("{name}={value}\n"));
        format!("{first}\n{}", rest.collect::<String>())
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let server = match first.split(' ').collect::<Vec<_>>()[..] {
            ["given"] => Server::External,
            ["compose", project] => Server::Compose { project: project.to_owned() },
            ["process", id, start_time] => {
                Server::Native(Process { id: id.parse().ok()?, start_time: start_time.parse().ok()? })
            }
            _ => return None,
        };
        let variables = rest.lines().map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Some(Self { server, variables: variables.collect::<Option<_>>()? })
    }
}

/// Formats the variables as lines that a shell can source.
pub(super) fn exports(variables: &Variables) -> String {
    variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

/// Quotes the value for a shell if necessary. Plain values stay unquoted, so that other parsers can read the file.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Writes the variables of all running services; removes the file if none is running.
pub(super) fn write_environment<'a>(path: &Path, folders: impl Iterator<Item = &'a Path>) -> Result<()> {
    let mut text = String::new();
    for folder in folders {
        if let Some(record) = Record::read(folder)? {
            text.push_str(&exports(&record.variables));
        }
    }
    if text.is_empty() { remove(path) } else { replace(path, &text) }
}

/// Replaces the file atomically: a reader sees the old text or the new text.
fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
