//! The steps of every run of `ci`.
//!
//! No step sets `RUSTFLAGS`: warnings are denied through clippy's and rustdoc's own arguments, so that all steps, and
//! the developer's own builds, share the compiled dependencies. Checks run through clippy for the same reason.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Result, anyhow, bail};

use crate::{
    ci::{Outcome, deny},
    process::{answer, captured_within, cargo, run},
    repo::Repo,
    services::debian,
    tidy::{self, Tier},
};

pub(super) const BENCHMARKS: &str = "benchmarks/Cargo.toml";
pub(super) const FUZZ: &str = "fuzz/Cargo.toml";

/// The module name of long tests: every run but the full one passes `--skip` with it to the test harness.
pub(super) const LONG_TESTS: &str = "long::";

/// The longest time that an example may run; it takes a second.
const EXAMPLE: Duration = Duration::from_secs(2 * 60);

/// `cargo` without incremental compilation, which costs a build from an empty target folder more than it saves.
pub(super) fn build_cargo(repo: &Repo) -> Command {
    let mut command = cargo(&repo.root);
    command.env("CARGO_INCREMENTAL", "0");
    command
}

pub(super) fn tools(repo: &Repo) -> Result<Outcome> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        match answer(cargo(&repo.root).args([subcommand, "--version"])) {
            Some(version) => println!("{version}"),
            None => bail!("`cargo {subcommand}` is missing; `rustup component add {component}` installs it"),
        }
    }
    // A C compiler exists, for nothing links without one; librdkafka is built by make as well.
    let missing: Vec<_> =
        [("make", "make")].into_iter().filter(|(program, _)| !debian::has(program)).collect();
    debian::install(&repo.root, &missing)?;
    Ok(Outcome::Passed)
}

pub(super) fn fmt(repo: &Repo) -> Result<Outcome> {
    run(cargo(&repo.root).args(["fmt", "--all", "--check"]))?;
    for manifest in [BENCHMARKS, FUZZ] {
        run(cargo(&repo.root).args(["fmt", "--manifest-path", manifest, "--check"]))?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn tidy(repo: &Repo) -> Result<Outcome> {
    tidy::check(repo)?;
    Ok(Outcome::Passed)
}

pub(super) fn clippy(repo: &Repo) -> Result<Outcome> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    run(build_cargo(repo).args(arguments))?;
    Ok(Outcome::Passed)
}

/// A step of its own, so that the time of the tests is not hidden in that of the compiler.
pub(super) fn build(repo: &Repo) -> Result<Outcome> {
    run(build_cargo(repo).args(["test", "--workspace", "--all-features", "--no-run"]))?;
    Ok(Outcome::Passed)
}

pub(super) fn test(repo: &Repo) -> Result<Outcome> {
    let arguments = ["test", "--workspace", "--all-features", "--tests", "--", "--skip", LONG_TESTS];
    run(build_cargo(repo).args(arguments))?;
    Ok(Outcome::Passed)
}

/// A step of its own, because the compiler takes most of its time.
pub(super) fn doctest(repo: &Repo) -> Result<Outcome> {
    run(build_cargo(repo).args(["test", "--workspace", "--all-features", "--doc"]))?;
    Ok(Outcome::Passed)
}

/// The tests again, with the features that most users build with: with all features, metrics are recorded through
/// `bound-metrics`, and no test would see the other way. One call for all crates: those of these tiers turn on none of
/// each other's features by default, and dependencies are built once. `otel-telemetry` does, so its tier is left out.
pub(super) fn test_default(repo: &Repo) -> Result<Outcome> {
    let mut command = build_cargo(repo);
    command.args(["test", "--tests"]);
    for package in repo.crates() {
        if !package.features.is_empty() && Tier::of(&package.name) != Some(Tier::App) {
            command.args(["--package", &package.name]);
        }
    }
    run(command.args(["--", "--skip", LONG_TESTS]))?;
    Ok(Outcome::Passed)
}

/// The features of a crate as its manifest declares them.
pub(super) type Features = BTreeMap<String, Vec<String>>;

/// The command-line flags of one check.
pub(super) type Flags = Vec<String>;

pub(super) fn features(repo: &Repo) -> Result<Outcome> {
    check_features(repo, ends)
}

/// Runs clippy on each crate alone, with each of the feature sets that `sets` returns.
pub(super) fn check_features(repo: &Repo, sets: fn(&Features) -> Vec<Flags>) -> Result<Outcome> {
    for package in repo.crates() {
        for set in sets(&package.features) {
            let mut command = build_cargo(repo);
            command.args(["clippy", "--quiet", "--package", &package.name]).args(set);
            run(command.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(Outcome::Passed)
}

/// The flags for no features and for all; one set for a crate without features.
fn ends(features: &Features) -> Vec<Flags> {
    let mut sets = vec![vec!["--no-default-features".to_owned()]];
    if features.keys().any(|name| name != "default") {
        sets.push(vec!["--all-features".to_owned()]);
    }
    sets
}

pub(super) fn doc(repo: &Repo) -> Result<Outcome> {
    let arguments = ["doc", "--workspace", "--no-deps", "--all-features"];
    run(build_cargo(repo).args(arguments).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed)
}

pub(super) fn deny(repo: &Repo) -> Result<Outcome> {
    run(deny::installed(&repo.root)?.args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    Ok(Outcome::Passed)
}

pub(super) fn rest_api(repo: &Repo) -> Result<Outcome> {
    example(repo, "rest-api")
}

/// Runs an example without arguments, as a new user does.
pub(super) fn example(repo: &Repo, name: &str) -> Result<Outcome> {
    run(build_cargo(repo).args(["build", "--package", name]))?;
    let output = captured_within(build_cargo(repo).args(["run", "--package", name]), EXAMPLE)?;
    if !has_waterfall(&output) {
        return Err(anyhow!("`{name}` drew no trace: no line of its output begins with `trace` and an id"));
    }
    Ok(Outcome::Passed)
}

/// Returns true if a line begins a waterfall: `trace` and the 32 hexadecimal digits of the trace's id.
fn has_waterfall(output: &str) -> bool {
    output.lines().filter_map(|line| line.strip_prefix("trace ")).any(|rest| {
        let id = rest.split_whitespace().next().unwrap_or_default();
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::{Features, ends, has_waterfall};

    #[test]
    fn a_crate_is_checked_without_features_and_with_all() {
        let flags = |names: &[&str]| {
            let features: Features = names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
            ends(&features).concat()
        };
        assert_eq!(flags(&[]), ["--no-default-features"]);
        assert_eq!(flags(&["default"]), ["--no-default-features"]);
        assert_eq!(flags(&["axum", "default"]), ["--no-default-features", "--all-features"]);
    }

    #[test]
    fn a_trace_is_recognized_by_its_header() {
        let header = "users\n\ntrace 4bf92f3577b34da6a3ce929d0e0e4736 · 3.1 ms · 4 spans\n  GET /users\n";
        assert!(has_waterfall(header));
        assert!(!has_waterfall(""));
        assert!(!has_waterfall("trace of nothing\n"));
        assert!(!has_waterfall("trace 4bf92f35 · 3.1 ms\n"));
    }
}
