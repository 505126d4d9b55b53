//! The steps of `ci --full` alone: long tests and soaks, and checks whose subject seldom changes.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, bail};

use crate::{
    binaries,
    ci::{
        Outcome,
        steps::{BENCHMARKS, FUZZ, Features, Flags, LONG_TESTS, build_cargo, check_features, example},
    },
    demo,
    process::{answer, program, run, run_within},
    repo::Repo,
    services::{Lease, consul, debian, opentelemetry_collector::PREFIX},
};

/// The longest time that a soak may run, apart from its build.
const SOAK: Duration = Duration::from_secs(30 * 60);

pub(super) fn test_long(repo: &Repo) -> Result<Outcome> {
    // For the test of the shop with a service in Python.
    demo::interpreter(repo)?;
    run(build_cargo(repo).args(["test", "--workspace", "--all-features", "--tests", "--", LONG_TESTS]))?;
    Ok(Outcome::Passed)
}

pub(super) fn features_each(repo: &Repo) -> Result<Outcome> {
    check_features(repo, each)
}

/// A feature that others need: async-nats' object stores do not compile without a backend for cryptography, which is the
/// application's choice.
const BACKEND: &str = "ring";

/// The flags for the default features and for each feature alone, or with the backend. Sets that the quick run checks are left out.
fn each(features: &Features) -> Vec<Flags> {
    let mut sets = Vec::new();
    if features.get("default").is_some_and(|default| !default.is_empty()) {
        sets.push(Vec::new());
    }
    let named: Vec<_> = features.keys().filter(|name| *name != "default").collect();
    // The only feature alone is the same as all features.
    if named.len() > 1 {
        for name in named {
            let with = if features.contains_key(BACKEND) && name != BACKEND {
                format!("{name},{BACKEND}")
            } else {
                name.clone()
            };
            sets.push(["--no-default-features", "--features", &with].map(str::to_owned).to_vec());
        }
    }
    sets
}

/// With the peers and without them, because default builds are measured without.
pub(super) fn benchmarks(repo: &Repo) -> Result<Outcome> {
    for set in [None, Some("--no-default-features")] {
        let mut command = build_cargo(repo);
        command.args(["clippy", "--manifest-path", BENCHMARKS, "--all-targets"]).args(set);
        run(command.args(["--", "-D", "warnings"]))?;
    }
    Ok(Outcome::Passed)
}

/// The targets are checked, not linked: the default features build a runtime in C++ that only fuzzing needs.
pub(super) fn fuzz(repo: &Repo) -> Result<Outcome> {
    let arguments =
        ["clippy", "--manifest-path", FUZZ, "--no-default-features", "--bins", "--", "-D", "warnings"];
    run(build_cargo(repo).args(arguments))?;
    Ok(Outcome::Passed)
}

/// The tests of the module that reads Kafka's headers raw, under valgrind.
pub(super) fn valgrind(repo: &Repo) -> Result<Outcome> {
    if !debian::has("valgrind")
        && let Err(missing) = debian::install(&repo.root, &[("valgrind", "valgrind")])
    {
        return Ok(Outcome::Skipped(format!("{missing:#}")));
    }
    let about = answer(program("rustc", &repo.root).arg("-vV")).unwrap_or_default();
    let Some(host) = about.lines().find_map(|line| line.strip_prefix("host: ")) else {
        bail!("`rustc -vV` prints no line `host: …`");
    };
    let runner = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_"));
    let mut command = build_cargo(repo);
    command.args(["test", "--package", "otel-kafka", "--all-features", "--lib", "carrier::raw"]);
    // The harness itself leaves memory that is still reachable or possibly lost.
    let leaks = "--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite";
    command.env(runner, format!("valgrind --quiet {leaks} --error-exitcode=99"));
    run(&mut command)?;
    Ok(Outcome::Passed)
}

/// Each library with its oldest Rust, if that is installed: a toolchain is never downloaded unasked. Features that need a
/// newer one are left out by `package.metadata.msrv.without`.
pub(super) fn msrv(repo: &Repo) -> Result<Outcome> {
    let list = answer(program("rustup", &repo.root).args(["toolchain", "list"])).unwrap_or_default();
    let mut missing = BTreeSet::new();
    for package in repo.crates() {
        let Some(version) = &package.rust_version else { bail!("{} has no `rust-version`", package.name) };
        let version = format!("{}.{}", version.major, version.minor);
        let Some(toolchain) = toolchain(&list, &version) else {
            missing.insert(version);
            continue;
        };
        let mut command = program("rustup", &repo.root);
        // A folder of its own: artifacts of another compiler are of no use to the other steps.
        command.args(["run", toolchain, "cargo", "check", "--quiet", "--target-dir", "target/msrv"]);
        command.args(["--package", &package.name]);
        match package.metadata["msrv"]["without"].as_array() {
            Some(without) => {
                let is_left_out = |name: &String| without.iter().any(|feature| feature == name);
                let features: Vec<_> =
                    package.features.keys().filter(|name| !is_left_out(name)).cloned().collect();
                command.args(["--no-default-features", "--features", &features.join(",")]);
            }
            None => drop(command.arg("--all-features")),
        }
        run(&mut command)?;
    }
    Ok(match missing.into_iter().collect::<Vec<_>>().join(" ") {
        missing if missing.is_empty() => Outcome::Passed,
        missing => Outcome::Skipped(format!(
            "Rust {missing} is not installed; `rustup toolchain install {missing}` installs it"
        )),
    })
}

/// The installed toolchain of that version, from the output of `rustup toolchain list`.
fn toolchain<'a>(list: &'a str, version: &str) -> Option<&'a str> {
    list.lines().filter_map(|line| line.split_whitespace().next()).find(|name| {
        name.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    })
}

/// Packages all crates that can be published, in the order of their dependencies, and builds each from its package.
pub(super) fn package(repo: &Repo) -> Result<Outcome> {
    let mut command = build_cargo(repo);
    command.args(["package", "--allow-dirty", "--quiet"]);
    for package in repo.crates() {
        if package.publish.as_ref().is_none_or(|registries| !registries.is_empty()) {
            command.args(["--package", &package.name]);
        }
    }
    run(&mut command)?;
    Ok(Outcome::Passed)
}

/// The tests of `otel-amqp` on a newer broker than that of the other steps, if it can be started on this machine.
pub(super) fn rabbitmq_4(repo: &Repo) -> Result<Outcome> {
    let lease = match Lease::take_rabbitmq_4(&repo.root) {
        Ok(lease) => lease,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    let mut command = build_cargo(repo);
    command.args(["test", "--package", "otel-amqp", "--all-features"]);
    for (name, value) in lease.variables() {
        command.env(name.replace("RABBITMQ_4_", "RABBITMQ_"), value);
    }
    run(&mut command)?;
    Ok(Outcome::Passed)
}

/// The tests of `otel-telemetry` that use a collector, on another one than that of the other steps. The long ones restart a
/// collector of their own.
pub(super) fn opentelemetry_collector(repo: &Repo) -> Result<Outcome> {
    let lease = match Lease::take_opentelemetry_collector(&repo.root) {
        Ok(lease) => lease,
        Err(error) if !debian::has("go") => return Ok(Outcome::Skipped(format!("{error:#}"))),
        Err(error) => return Err(error),
    };
    let mut command = build_cargo(repo);
    command.args(["test", "--package", "otel-telemetry", "--all-features", "--test", "collector"]);
    command.args(["--", "--skip", LONG_TESTS]);
    for (name, value) in lease.variables() {
        command.env(name.replace(PREFIX, ""), value);
    }
    run(&mut command)?;
    Ok(Outcome::Passed)
}

/// The tests of `otel-discovery` with a server of Consul's protocol, on agents of Consul itself.
pub(super) fn consul(repo: &Repo) -> Result<Outcome> {
    let server = match consul::server(&repo.root) {
        Ok(server) => server,
        Err(error) if !debian::has("go") => return Ok(Outcome::Skipped(format!("{error:#}"))),
        Err(error) => return Err(error),
    };
    let mut command = build_cargo(repo);
    command.args(["test", "--package", "otel-discovery", "--all-features", "--test", "it", "consul::"]);
    run(command.env("CONSUL_SERVER", server))?;
    Ok(Outcome::Passed)
}

pub(super) fn chat(repo: &Repo) -> Result<Outcome> {
    example(repo, "chat")
}

pub(super) fn concurrency(repo: &Repo) -> Result<Outcome> {
    example(repo, "concurrency")
}

/// The example starts a broker if none is running, and stops it.
pub(super) fn invoices(repo: &Repo) -> Result<Outcome> {
    example(repo, "invoices")
}

/// The example starts its servers if they are not running, and stops them.
pub(super) fn ledger(repo: &Repo) -> Result<Outcome> {
    example(repo, "ledger")
}

/// The example starts a server if none is running, and stops it.
pub(super) fn notifications(repo: &Repo) -> Result<Outcome> {
    example(repo, "notifications")
}

pub(super) fn orders(repo: &Repo) -> Result<Outcome> {
    example(repo, "orders")
}

pub(super) fn resilience(repo: &Repo) -> Result<Outcome> {
    example(repo, "resilience")
}

pub(super) fn registry(repo: &Repo) -> Result<Outcome> {
    example(repo, "registry")
}

/// Runs the demonstration of the README, with and without servers.
pub(super) fn demo(repo: &Repo) -> Result<Outcome> {
    demo::check(repo)?;
    Ok(Outcome::Passed)
}

/// Without a Postgres that it may use, the example leaves half of itself out; its tests do not.
pub(super) fn transfer(repo: &Repo) -> Result<Outcome> {
    example(repo, "transfer")
}

pub(super) fn soak_http(repo: &Repo) -> Result<Outcome> {
    soak(repo, "http", &["--requests", "200000"])
}

pub(super) fn soak_kafka(repo: &Repo) -> Result<Outcome> {
    soak(repo, "kafka", &["--messages", "1000000"])
}

pub(super) fn soak_kafka_limits(repo: &Repo) -> Result<Outcome> {
    soak(repo, "kafka-limits", &["--messages", "10000"])
}

pub(super) fn soak_nats(repo: &Repo) -> Result<Outcome> {
    soak(repo, "nats", &["--messages", "1000000"])
}

pub(super) fn soak_amqp(repo: &Repo) -> Result<Outcome> {
    soak(repo, "amqp", &["--messages", "1000000"])
}

/// The soak starts a Postgres of its own, which it restarts.
pub(super) fn soak_saga(repo: &Repo) -> Result<Outcome> {
    soak(repo, "saga", &["--kills", "100"])
}

pub(super) fn soak_shop(repo: &Repo) -> Result<Outcome> {
    soak(repo, "shop", &["--seconds", "1200"])
}

pub(super) fn soak_telemetry(repo: &Repo) -> Result<Outcome> {
    soak(repo, "telemetry", &["--seconds", "600"])
}

fn soak(repo: &Repo, name: &str, arguments: &[&str]) -> Result<Outcome> {
    binaries::build_soak(&repo.root, name)?;
    run_within(binaries::soak_command(&repo.root, "run", name).arg("--").args(arguments), SOAK)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::{each, toolchain};

    fn sets(features: &[(&str, &[&str])]) -> Vec<String> {
        let features = features
            .iter()
            .map(|(name, what)| ((*name).to_owned(), what.iter().map(|s| (*s).to_owned()).collect()));
        each(&features.collect()).iter().map(|set| set.join(" ")).collect()
    }

    #[test]
    fn the_sets_of_the_quick_run_are_left_out() {
        assert_eq!(sets(&[]), [""; 0]);
        assert_eq!(sets(&[("default", &[])]), [""; 0]);
        assert_eq!(sets(&[("axum", &[])]), [""; 0]);
    }

    #[test]
    fn each_feature_is_checked_alone() {
        let expected =
            ["", "--no-default-features --features axum", "--no-default-features --features reqwest"];
        assert_eq!(sets(&[("axum", &[]), ("default", &["axum"]), ("reqwest", &[])]), expected);
    }

    #[test]
    fn a_backend_is_added_to_each_feature() {
        let expected = ["--no-default-features --features kv,ring", "--no-default-features --features ring"];
        assert_eq!(sets(&[("kv", &[]), ("ring", &[])]), expected);
    }

    #[test]
    fn a_toolchain_is_found_by_its_version() {
        let list = "stable-x86_64 (active, default)\n1.89.0-x86_64\nnightly-x86_64\n";
        assert_eq!(toolchain(list, "1.89"), Some("1.89.0-x86_64"));
        assert_eq!(toolchain("1.89-x86_64\n", "1.89"), Some("1.89-x86_64"));
        assert_eq!(toolchain(list, "1.8"), None);
        assert_eq!(toolchain("", "1.89"), None);
    }
}
