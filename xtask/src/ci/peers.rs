//! The step `peers`: ours and services in other languages exchange requests, and each request is one trace.
//!
//! `examples/peers` has the services, and the program that sends the requests and compares the spans.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{
    ci::{Outcome, steps::build_cargo},
    process::{answer, program, run, run_within},
    repo::Repo,
    services::{Lease, python},
};

/// The longest time that the requests to one peer may take; they take seconds.
const REQUESTS: Duration = Duration::from_secs(2 * 60);

/// Runs the peers whose languages are installed. The step is skipped if one is not: a language is never installed
/// unasked.
pub(super) fn peers(repo: &Repo) -> Result<Outcome> {
    let mut missing = Vec::new();
    let mut commands = Vec::new();
    if answer(program("go", &repo.root).arg("version")).is_some() {
        commands.push((go(repo)?, &[][..]));
    } else {
        missing.push("Go");
    }
    if python::missing().is_empty() {
        commands.push((python(repo)?, &["nats", "rabbitmq"][..]));
    } else {
        missing.push("python3 with the module venv");
    }
    run(build_cargo(repo).args(["build", "--package", "peers"]))?;
    for (peer, services) in commands {
        let lease = Lease::take(&repo.root, services)?;
        let mut command = build_cargo(repo);
        command.args(["run", "--quiet", "--package", "peers", "--"]).args(peer);
        run_within(command.envs(lease.variables()), REQUESTS)?;
    }
    if missing.is_empty() {
        Ok(Outcome::Passed)
    } else {
        Ok(Outcome::Skipped(format!("not installed: {}", missing.join(", "))))
    }
}

/// Builds the peer in Go and returns its command.
fn go(repo: &Repo) -> Result<Vec<String>> {
    let binary = folder(repo, "go")?.join("peer").display().to_string();
    let mut build = program("go", &repo.root.join("examples/peers/go"));
    // No other toolchain is downloaded: an older one than go.mod asks for is an error.
    build.env("GOTOOLCHAIN", "local").args(["build", "-o", &binary, "."]);
    run(&mut build).context("the peer in Go cannot be built")?;
    Ok(vec![binary])
}

/// Installs the packages of the peer in Python and returns its command.
fn python(repo: &Repo) -> Result<Vec<String>> {
    let source = repo.root.join("examples/peers/python");
    let list = source.join("requirements.txt");
    let requirements =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let interpreter =
        python::installed(&folder(repo, "python")?, &requirements, "import sys; print(sys.executable)")?;
    Ok(vec![interpreter, source.join("peer.py").display().to_string()])
}

/// The folder for the generated files of a peer.
fn folder(repo: &Repo, language: &str) -> Result<PathBuf> {
    let folder = repo.root.join("target/peers").join(language);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
