//! `bench` and `soak`: both run one binary out of many, and the list of names is read from Cargo.
//!
//! A comparison is a binary of the workspace `benchmarks/`, a soak is a binary of the package `soak`; adding one
//! needs no line here.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};
use cargo_metadata::{Metadata, TargetKind};

use crate::{
    process::{answer, cargo, program, run},
    repo::{Repo, metadata},
};

/// The package whose binaries are the soaks.
const SOAK: &str = "soak";

pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let repo = Repo::open()?;
    let Some(manifest) = repo.file("benchmarks/Cargo.toml") else {
        bail!("there is no benchmarks/Cargo.toml");
    };
    let names = binaries(&metadata(&manifest)?, |_| true);
    let (name, rest) = chosen("bench", arguments, &names)?;
    if answer(program("valgrind", &repo.root).arg("--version")).is_none() {
        eprintln!("warning: valgrind is not installed, and instructions are counted with it");
    }
    run(cargo(&repo.root)
        .args(["run", "--release", "--manifest-path", "benchmarks/Cargo.toml", "--bin", name, "--"])
        .args(rest))
}

pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    let repo = Repo::open()?;
    let names = binaries(&repo.metadata, |package| package == SOAK);
    let (name, rest) = chosen("soak", arguments, &names)?;
    run(soak_command(&repo.root, "run", name).arg("--").args(rest))
}

/// `cargo run` or `cargo build` for a soak.
pub(crate) fn soak_command(root: &Path, subcommand: &str, name: &str) -> Command {
    let mut command = cargo(root);
    command.args([subcommand, "--release", "--package", SOAK, "--bin", name]);
    command
}

/// The names of all binaries in the packages that `wanted` picks, in order.
fn binaries(metadata: &Metadata, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut names: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| wanted(&package.name))
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.contains(&TargetKind::Bin))
        .map(|target| target.name.clone())
        .collect();
    names.sort();
    names
}

/// Splits the arguments into a name that exists and the rest.
fn chosen<'a>(
    command: &str,
    arguments: &'a [String],
    names: &[String],
) -> Result<(&'a String, &'a [String])> {
    let list = if names.is_empty() { "none exist yet".to_owned() } else { names.join(", ") };
    match arguments.split_first() {
        None => bail!("which {command}? There are: {list}"),
        Some((name, _)) if !names.contains(name) => {
            bail!("there is no {command} `{name}`. There are: {list}")
        }
        Some(found) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::{binaries, chosen};
    use crate::repo::Repo;

    #[test]
    fn a_name_that_exists_is_split_from_its_arguments() {
        let arguments = ["http".to_owned(), "--requests".to_owned(), "7".to_owned()];
        let (name, rest) = chosen("soak", &arguments, &["grpc".to_owned(), "http".to_owned()]).unwrap();
        assert_eq!((name.as_str(), rest), ("http", &arguments[1..]));
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_list() {
        let names = ["grpc".to_owned(), "http".to_owned()];
        let error = chosen("bench", &["htp".to_owned()], &names).unwrap_err();
        assert_eq!(error.to_string(), "there is no bench `htp`. There are: grpc, http");
        let error = chosen("bench", &[], &names).unwrap_err();
        assert_eq!(error.to_string(), "which bench? There are: grpc, http");
        let error = chosen("bench", &["http".to_owned()], &[]).unwrap_err();
        assert_eq!(error.to_string(), "there is no bench `http`. There are: none exist yet");
    }

    #[test]
    fn binaries_are_read_from_cargo() {
        let repo = Repo::open().unwrap();
        assert_eq!(binaries(&repo.metadata, |package| package == "xtask"), ["xtask"]);
        assert!(binaries(&repo.metadata, |_| true).contains(&"rest-api".to_owned()));
        assert!(binaries(&repo.metadata, |package| package == "otel-propagation").is_empty());
    }
}
