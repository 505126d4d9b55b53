//! What each step of `ci` does.
//!
//! Nothing here sets `RUSTFLAGS`: warnings are denied through clippy's and rustdoc's own arguments, so that all
//! steps, and the developer's own builds, share the compiled dependencies. Checks run through clippy for the
//! same reason.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, anyhow, bail};

use crate::{
    binaries,
    ci::{Outcome, deny},
    process::{answer, captured_within, cargo, program, run, run_within},
    repo::Repo,
    services::debian,
    tidy::{self, Tier},
};

/// The oldest Rust that the workspace supports, from its manifest.
const MSRV: &str = env!("CARGO_PKG_RUST_VERSION");

const BENCHMARKS: &str = "benchmarks/Cargo.toml";
const FUZZ: &str = "fuzz/Cargo.toml";

/// How long an example may run, which takes a second.
const EXAMPLE: Duration = Duration::from_secs(2 * 60);

/// How long a soak may run, which takes seconds; not how long it may build.
const SOAK: Duration = Duration::from_secs(10 * 60);

pub(super) fn tools(repo: &Repo) -> Result<Outcome> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        match answer(cargo(&repo.root).args([subcommand, "--version"])) {
            Some(version) => println!("{version}"),
            None => bail!("`cargo {subcommand}` is missing; `rustup component add {component}` installs it"),
        }
    }
    // The C compiler is there, for nothing links without it; librdkafka is built by make as well.
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
    let what = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    run(cargo(&repo.root).args(what))?;
    Ok(Outcome::Passed)
}

pub(super) fn test(repo: &Repo) -> Result<Outcome> {
    run(cargo(&repo.root).args(["test", "--workspace", "--all-features"]))?;
    Ok(Outcome::Passed)
}

/// The tests again, as most users build the crates: with all features on, metrics go the way of `bound-metrics`,
/// and nothing would see the other. One call for all: the crates of these tiers turn on none of each other's
/// features by default, and dependencies are built once. `otel-telemetry` does, so that its tier stays out.
pub(super) fn test_default(repo: &Repo) -> Result<Outcome> {
    let mut command = cargo(&repo.root);
    command.args(["test", "--tests"]);
    for package in repo.crates() {
        if !package.features.is_empty() && Tier::of(&package.name) != Some(Tier::App) {
            command.args(["--package", &package.name]);
        }
    }
    run(&mut command)?;
    Ok(Outcome::Passed)
}

pub(super) fn features(repo: &Repo) -> Result<Outcome> {
    for package in repo.crates() {
        for set in feature_sets(&package.features) {
            let mut command = cargo(&repo.root);
            command.args(["clippy", "--quiet", "--package", &package.name]).args(set);
            run(command.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(Outcome::Passed)
}

/// The feature flags that a crate is checked with on its own: none, the default, each feature alone, all. What
/// would repeat another one is left out.
fn feature_sets(features: &BTreeMap<String, Vec<String>>) -> Vec<Vec<String>> {
    let none = || vec!["--no-default-features".to_owned()];
    let mut sets = vec![none()];
    if features.get("default").is_some_and(|default| !default.is_empty()) {
        sets.push(Vec::new());
    }
    let named: Vec<_> = features.keys().filter(|name| *name != "default").collect();
    for name in &named {
        sets.push([none(), vec!["--features".to_owned(), (*name).clone()]].concat());
    }
    if named.len() > 1 {
        sets.push(vec!["--all-features".to_owned()]);
    }
    sets
}

pub(super) fn doc(repo: &Repo) -> Result<Outcome> {
    let what = ["doc", "--workspace", "--no-deps", "--all-features"];
    run(cargo(&repo.root).args(what).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed)
}

/// With the peers and without them, for default builds are measured without.
pub(super) fn benchmarks(repo: &Repo) -> Result<Outcome> {
    for set in [None, Some("--no-default-features")] {
        let mut command = cargo(&repo.root);
        command.args(["clippy", "--manifest-path", BENCHMARKS, "--all-targets"]).args(set);
        run(command.args(["--", "-D", "warnings"]))?;
    }
    Ok(Outcome::Passed)
}

/// The targets are checked, not linked: the runtime that they are linked with is C++, which the default features
/// build and which nobody needs who does not fuzz.
pub(super) fn fuzz(repo: &Repo) -> Result<Outcome> {
    let what = ["clippy", "--manifest-path", FUZZ, "--no-default-features", "--bins", "--", "-D", "warnings"];
    run(cargo(&repo.root).args(what))?;
    Ok(Outcome::Passed)
}

/// The tests of the module that reads Kafka's headers raw, under valgrind, where that is or may be installed.
pub(super) fn valgrind(repo: &Repo) -> Result<Outcome> {
    if !debian::has("valgrind")
        && let Err(missing) = debian::install(&repo.root, &[("valgrind", "valgrind")])
    {
        return Ok(Outcome::Skipped(format!("{missing:#}")));
    }
    let about = answer(program("rustc", &repo.root).arg("-vV")).unwrap_or_default();
    let Some(host) = about.lines().find_map(|line| line.strip_prefix("host: ")) else {
        bail!("`rustc -vV` does not tell its host");
    };
    let runner = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_"));
    let mut command = cargo(&repo.root);
    command.args(["test", "--package", "otel-kafka", "--all-features", "--lib", "carrier::raw"]);
    // The harness itself leaves what is still reachable, and what may be.
    let leaks = "--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite";
    command.env(runner, format!("valgrind --quiet {leaks} --error-exitcode=99"));
    run(&mut command)?;
    Ok(Outcome::Passed)
}

/// The libraries with the oldest Rust, if it is installed: it is not downloaded behind anybody's back. A crate
/// whose own `rust-version` is newer says so for a reason and is left out.
pub(super) fn msrv(repo: &Repo) -> Result<Outcome> {
    let list = answer(program("rustup", &repo.root).args(["toolchain", "list"])).unwrap_or_default();
    let Some(toolchain) = toolchain(&list, MSRV) else {
        let missing = format!("Rust {MSRV} is not installed; `rustup toolchain install {MSRV}` does that");
        return Ok(Outcome::Skipped(missing));
    };
    let mut command = program("rustup", &repo.root);
    // A folder of its own: another compiler shares nothing with the rest.
    command.args(["run", toolchain, "cargo", "check", "--all-features", "--target-dir", "target/msrv"]);
    for package in repo.crates() {
        let own = package.rust_version.as_ref().map(|version| format!("{}.{}", version.major, version.minor));
        if own.as_deref() == Some(MSRV) {
            command.args(["--package", &package.name]);
        }
    }
    run(&mut command)?;
    Ok(Outcome::Passed)
}

/// The installed toolchain of that version, from the words of `rustup toolchain list`.
fn toolchain<'a>(list: &'a str, version: &str) -> Option<&'a str> {
    list.lines().filter_map(|line| line.split_whitespace().next()).find(|name| {
        name.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    })
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

pub(super) fn chat(repo: &Repo) -> Result<Outcome> {
    example(repo, "chat")
}

pub(super) fn orders(repo: &Repo) -> Result<Outcome> {
    example(repo, "orders")
}

/// Without a Postgres that it could use, it leaves half of itself out; its tests do not.
pub(super) fn transfer(repo: &Repo) -> Result<Outcome> {
    example(repo, "transfer")
}

/// An example, run as a user does first: without arguments.
fn example(repo: &Repo, name: &str) -> Result<Outcome> {
    run(cargo(&repo.root).args(["build", "--package", name]))?;
    let output = captured_within(cargo(&repo.root).args(["run", "--package", name]), EXAMPLE)?;
    if !draws_a_trace(&output) {
        return Err(anyhow!("`{name}` drew no trace: no line of its output begins with `trace` and an id"));
    }
    Ok(Outcome::Passed)
}

/// Whether a waterfall is there: each begins with the word and the 32 hexadecimal digits of the trace's id.
fn draws_a_trace(output: &str) -> bool {
    output.lines().filter_map(|line| line.strip_prefix("trace ")).any(|rest| {
        let id = rest.split_whitespace().next().unwrap_or_default();
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

pub(super) fn soak_http(repo: &Repo) -> Result<Outcome> {
    soak(repo, "http", &["--requests", "20000"])
}

pub(super) fn soak_kafka(repo: &Repo) -> Result<Outcome> {
    soak(repo, "kafka", &["--messages", "50000"])
}

/// A soak, shorter than when it is run by hand.
fn soak(repo: &Repo, name: &str, arguments: &[&str]) -> Result<Outcome> {
    run(&mut binaries::soak_command(&repo.root, "build", name))?;
    run_within(binaries::soak_command(&repo.root, "run", name).arg("--").args(arguments), SOAK)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::{draws_a_trace, feature_sets, toolchain};

    fn sets(features: &[(&str, &[&str])]) -> Vec<String> {
        let features = features
            .iter()
            .map(|(name, what)| ((*name).to_owned(), what.iter().map(|s| (*s).to_owned()).collect()));
        feature_sets(&features.collect()).iter().map(|set| set.join(" ")).collect()
    }

    #[test]
    fn a_crate_without_features_is_checked_once() {
        assert_eq!(sets(&[]), ["--no-default-features"]);
        assert_eq!(sets(&[("default", &[])]), ["--no-default-features"]);
    }

    #[test]
    fn each_feature_is_checked_alone_and_with_the_others() {
        assert_eq!(
            sets(&[("axum", &[])]),
            ["--no-default-features", "--no-default-features --features axum"]
        );
        let both = sets(&[("axum", &[]), ("default", &["axum"]), ("reqwest", &[])]);
        let expected = [
            "--no-default-features",
            "",
            "--no-default-features --features axum",
            "--no-default-features --features reqwest",
            "--all-features",
        ];
        assert_eq!(both, expected);
    }

    #[test]
    fn a_toolchain_is_found_by_its_version() {
        let list = "stable-x86_64 (active, default)\n1.89.0-x86_64\nnightly-x86_64\n";
        assert_eq!(toolchain(list, "1.89"), Some("1.89.0-x86_64"));
        assert_eq!(toolchain("1.89-x86_64\n", "1.89"), Some("1.89-x86_64"));
        assert_eq!(toolchain(list, "1.8"), None);
        assert_eq!(toolchain("", "1.89"), None);
    }

    #[test]
    fn a_trace_is_told_by_its_header() {
        let header = "users\n\ntrace 4bf92f3577b34da6a3ce929d0e0e4736 · 3.1 ms · 4 spans\n  GET /users\n";
        assert!(draws_a_trace(header));
        assert!(!draws_a_trace(""));
        assert!(!draws_a_trace("trace of nothing\n"));
        assert!(!draws_a_trace("trace 4bf92f35 · 3.1 ms\n"));
    }
}
