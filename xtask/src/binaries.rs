//! `cargo xtask bench` and `cargo xtask soak`: each runs one binary of a package, listed by `cargo metadata`.
//!
//! A comparison is a binary of the workspace `benchmarks/`, a soak a binary of the package `soak`; a new one needs no
//! change in this file.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};
use cargo_metadata::{Metadata, TargetKind};

use crate::{
    process::{answer, cargo, program, run},
    repo::{Repo, metadata},
};

/// The package whose binaries are the soaks.
const SOAK: &str = "soak";

/// The soak that starts the services of a package, and that package.
const SHOP: &str = "shop";

pub(crate) fn bench(arguments: &[&str]) -> Result<()> {
    let (name, rest) = select("bench", arguments, &comparisons()?)?;
    let repo = Repo::open()?;
    if answer(program("valgrind", &repo.root).arg("--version")).is_none() {
        eprintln!("warning: valgrind is not installed; instruction counts need it");
    }
    run(bench_command(&repo.root, name).args(rest))
}

/// Returns the sorted names of all comparisons.
pub(crate) fn comparisons() -> Result<Vec<String>> {
    let repo = Repo::open()?;
    let Some(manifest) = repo.file("benchmarks/Cargo.toml") else {
        bail!("benchmarks/Cargo.toml does not exist");
    };
    Ok(binaries(&metadata(&manifest)?, |package| package == "benchmarks"))
}

/// `cargo run` for a comparison, whose arguments follow.
pub(crate) fn bench_command(root: &Path, name: &str) -> Command {
    let mut command = cargo(root);
    command.args(["run", "--release", "--manifest-path", "benchmarks/Cargo.toml", "--bin", name, "--"]);
    command
}

pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    let repo = Repo::open()?;
    let names = binaries(&repo.metadata, |package| package == SOAK);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, rest) = select("soak", &arguments, &names)?;
    build_soak(&repo.root, name)?;
    run(soak_command(&repo.root, "run", name).arg("--").args(rest))
}

/// Builds a soak, and the services that it starts.
pub(crate) fn build_soak(root: &Path, name: &str) -> Result<()> {
    if name == SHOP {
        run(cargo(root).args(["build", "--release", "--package", SHOP, "--bins"]))?;
    }
    run(&mut soak_command(root, "build", name))
}

/// `cargo run` or `cargo build` for a soak.
pub(crate) fn soak_command(root: &Path, subcommand: &str, name: &str) -> Command {
    let mut command = cargo(root);
    command.args([subcommand, "--release", "--package", SOAK, "--bin", name]);
    command
}

/// Returns the sorted names of all binaries in the packages that `wanted` accepts.
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

/// Splits the arguments into the name of a binary and the arguments for it.
fn select<'a>(command: &str, arguments: &'a [&'a str], names: &[String]) -> Result<(&'a str, &'a [&'a str])> {
    let list = if names.is_empty() { "(none)".to_owned() } else { names.join(", ") };
    match arguments.split_first() {
        None => bail!("missing name of a {command}; expected one of: {list}"),
        Some((name, _)) if !names.iter().any(|known| known == name) => {
            bail!("unknown {command} `{name}`; expected one of: {list}")
        }
        Some((name, rest)) => Ok((name, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::{binaries, select};
    use crate::repo::Repo;

    #[test]
    fn a_name_is_split_from_its_arguments() {
        let arguments = ["http", "--requests", "7"];
        let (name, rest) = select("soak", &arguments, &["grpc".to_owned(), "http".to_owned()]).unwrap();
        assert_eq!((name, rest), ("http", &arguments[1..]));
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_list() {
        let names = ["grpc".to_owned(), "http".to_owned()];
        let error = select("bench", &["htp"], &names).unwrap_err();
        assert_eq!(error.to_string(), "unknown bench `htp`; expected one of: grpc, http");
        let error = select("bench", &[], &names).unwrap_err();
        assert_eq!(error.to_string(), "missing name of a bench; expected one of: grpc, http");
        let error = select("bench", &["http"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "unknown bench `http`; expected one of: (none)");
    }

    #[test]
    fn binaries_are_read_from_cargo() {
        let repo = Repo::open().unwrap();
        assert_eq!(binaries(&repo.metadata, |package| package == "xtask"), ["xtask"]);
        assert!(binaries(&repo.metadata, |_| true).contains(&"rest-api".to_owned()));
        assert!(binaries(&repo.metadata, |package| package == "otel-propagation").is_empty());
    }
}
