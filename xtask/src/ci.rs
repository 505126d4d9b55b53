//! `cargo xtask ci`: the steps that a change has to pass, in an order that fails fast.
//!
//! This file owns the table of steps and runs them; `ci/steps.rs` has the steps of every run, `ci/full.rs`,
//! `ci/kubernetes.rs`, `ci/mesh.rs`, `ci/deploy.rs`, `ci/peers.rs` and `ci/browser.rs` those of `--full` alone, `ci/report.rs` the
//! printed results.

mod arguments;
mod browser;
mod deny;
mod deploy;
mod disk;
mod full;
mod kubernetes;
mod mesh;
mod peers;
mod report;
mod steps;

use std::time::Instant;

use anyhow::Result;

use crate::{
    ci::{
        arguments::{Arguments, Request},
        report::{Line, State},
    },
    repo::Repo,
    services::{self, Lease, debian},
};

/// One step of the run.
struct Step {
    name: &'static str,
    about: &'static str,
    when: When,
    run: fn(&Repo) -> Result<Outcome>,
}

/// The runs that a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Every run: together at most 20 minutes on two quiet cores, and none more than five.
    Always,
    /// Runs with `--full`.
    Full,
}

/// The result of a step that did not fail.
enum Outcome {
    Passed,
    /// The step cannot run on this machine, for this reason.
    Skipped(String),
}

const fn step(name: &'static str, about: &'static str, run: fn(&Repo) -> Result<Outcome>) -> Step {
    Step { name, about, when: When::Always, run }
}

const fn full(name: &'static str, about: &'static str, run: fn(&Repo) -> Result<Outcome>) -> Step {
    Step { name, about, when: When::Full, run }
}

/// All steps in the order in which they run.
const STEPS: &[Step] = &[
    step("tools", "rustfmt, clippy and make are installed", steps::tools),
    step("fmt", "the code is formatted", steps::fmt),
    step("tidy", "the rules of ARCHITECTURE and CONTRIBUTING that `cargo xtask tidy` checks", steps::tidy),
    step("clippy", "no warning, in every target, with all features", steps::clippy),
    step("features", "each crate alone, without features and with all", steps::features),
    step("build", "all tests compile, with all features", steps::build),
    step("test", "all tests but the long ones and the doctests, with all features", steps::test),
    step("doctest", "the examples of the documentation", steps::doctest),
    step("test-default", "the libraries' tests, with default features", steps::test_default),
    step("doc", "the documentation builds without warnings", steps::doc),
    step("deny", "licences, sources and bans of all dependencies", steps::deny),
    step("rest-api", "the example of the README runs and draws a trace", steps::rest_api),
    full(
        "test-long",
        "the long tests: outages of servers, kill loops, memory over many messages",
        full::test_long,
    ),
    full("features-each", "each crate alone, with each of its features", full::features_each),
    full("benchmarks", "the workspace of benchmarks has no warning", full::benchmarks),
    full("fuzz", "the fuzz targets have no warning", full::fuzz),
    full("valgrind", "the one module with `unsafe` code reads no byte too much", full::valgrind),
    full("msrv", "the libraries build with the oldest Rust supported", full::msrv),
    full("package", "each crate is packaged and builds from its package", full::package),
    full("chat", "the example runs and draws a trace", full::chat),
    full("concurrency", "the example runs and draws a trace", full::concurrency),
    full("invoices", "the example runs and draws a trace", full::invoices),
    full("ledger", "the example runs and draws traces", full::ledger),
    full("notifications", "the example runs and draws a trace", full::notifications),
    full("orders", "the example runs and draws a trace", full::orders),
    full("resilience", "the example runs and draws traces", full::resilience),
    full("registry", "the example runs and draws a trace", full::registry),
    full("transfer", "the example runs and draws a trace", full::transfer),
    full("demo", "the shop runs with real servers, and without, and draws its traces", full::demo),
    full("browser", "the page of otel-waterfall in Chromium, on a laptop and a phone", browser::browser),
    full("peers", "services in Go and Python and ours give one trace, in both directions", peers::peers),
    full("rabbitmq-4", "the tests of otel-amqp on RabbitMQ 4", full::rabbitmq_4),
    full(
        "opentelemetry-collector",
        "the collector tests of otel-telemetry on the OpenTelemetry Collector",
        full::opentelemetry_collector,
    ),
    full("consul", "the tests of otel-discovery's registry in Consul on Consul itself", full::consul),
    full("deploy-files", "the files of deploy/ pass the programs that read them", deploy::files),
    full(
        "deploy-compose",
        "the shop's telemetry through the Collector to Jaeger and Prometheus",
        deploy::compose,
    ),
    full(
        "kubernetes",
        "the API server accepts the manifests, and its controllers create the pods",
        kubernetes::kubernetes,
    ),
    full("mesh", "one trace through sidecars of Envoy and our services, for W3C and B3", mesh::mesh),
    full("soak-http", "200,000 HTTP requests, each accounted for", full::soak_http),
    full(
        "soak-kafka",
        "1,000,000 Kafka messages, each accounted for; the broker is killed midway",
        full::soak_kafka,
    ),
    full(
        "soak-kafka-limits",
        "10,000 records to each of three topics with a limit: nothing lost, doubled or reordered",
        full::soak_kafka_limits,
    ),
    full(
        "soak-nats",
        "1,000,000 NATS messages, each accounted for; the server is killed midway",
        full::soak_nats,
    ),
    full(
        "soak-amqp",
        "1,000,000 RabbitMQ messages, each accounted for; the broker is killed midway",
        full::soak_amqp,
    ),
    full(
        "soak-saga",
        "sagas on a file and on Postgres, with 100 kills each: nothing lost, doubled or left over",
        full::soak_saga,
    ),
    full(
        "soak-shop",
        "20 minutes of orders in the shop, each accounted for; a server is killed every minute",
        full::soak_shop,
    ),
    full(
        "soak-telemetry",
        "ten minutes of spans, none lost; the collector is killed every 30 seconds",
        full::soak_telemetry,
    ),
];

/// The services that the tests of a package connect to.
const SERVICES: &[(&str, &str)] = &[
    ("invoices", "rabbitmq"),
    ("ledger", "postgres"),
    ("ledger", "redis"),
    ("notifications", "nats"),
    ("orders", "kafka"),
    ("otel-amqp", "rabbitmq"),
    ("otel-discovery", "etcd"),
    ("otel-kafka", "kafka"),
    ("otel-nats", "nats"),
    ("otel-redis", "redis"),
    ("otel-saga", "postgres"),
    ("otel-sqlx", "mariadb"),
    ("otel-sqlx", "postgres"),
    ("otel-telemetry", "collector"),
    ("otel-waterfall", "collector"),
    ("peers", "kafka"),
    ("peers", "nats"),
    ("peers", "rabbitmq"),
    ("registry", "etcd"),
    ("rest-api", "collector"),
    ("shop", "kafka"),
    ("shop", "nats"),
    ("shop", "postgres"),
    ("shop", "rabbitmq"),
    ("soak", "collector"),
    ("soak", "kafka"),
    ("soak", "nats"),
    ("soak", "postgres"),
    ("soak", "rabbitmq"),
    ("transfer", "postgres"),
];

/// The steps that need those services. They are started before the first of these steps and stopped at the end.
const WITH_SERVICES: &[&str] = &[
    "test",
    "test-default",
    "test-long",
    "soak-kafka",
    "soak-kafka-limits",
    "soak-nats",
    "soak-amqp",
    "soak-saga",
    "soak-shop",
    "soak-telemetry",
];

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    let Arguments { steps, may_skip, may_install } = match arguments::parse(STEPS, arguments)? {
        Request::Run(arguments) => arguments,
        Request::List => {
            print!("{}", report::list(STEPS));
            return Ok(());
        }
    };
    if may_install {
        debian::allow_install();
    }
    let repo = Repo::open()?;
    if steps.iter().any(|step| WITH_SERVICES.contains(&step.name)) {
        // Before the first step, so that a missing package does not stop the run after ten minutes.
        services::install_packages(&repo.root, &service_names(&repo))?;
    }
    run(&repo, &steps, may_skip)
}

/// The services that the packages of the workspace need.
fn service_names(repo: &Repo) -> Vec<&'static str> {
    let packages: Vec<_> = repo.metadata.packages.iter().map(|package| package.name.as_str()).collect();
    needed(&packages, SERVICES)
}

/// The services that these packages need.
fn needed<'a>(packages: &[&str], services: &[(&str, &'a str)]) -> Vec<&'a str> {
    let mut names: Vec<_> = services
        .iter()
        .filter(|(package, _)| packages.contains(package))
        .map(|(_, service)| *service)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Runs the steps until one fails, then prints all of them with their results and durations.
fn run(repo: &Repo, steps: &[&Step], may_skip: bool) -> Result<()> {
    let began = Instant::now();
    let mut lines: Vec<_> = steps.iter().map(|step| Line::new(step.name, step.when)).collect();
    let mut failure = None;
    let mut lease = None;
    for (step, line) in steps.iter().zip(&mut lines) {
        println!("\n==> {}: {}", step.name, step.about);
        let step_began = Instant::now();
        let result = if WITH_SERVICES.contains(&step.name) && lease.is_none() {
            Lease::take(&repo.root, &service_names(repo)).and_then(|taken| {
                lease = Some(taken);
                (step.run)(repo)
            })
        } else {
            (step.run)(repo)
        };
        let result = match result {
            Ok(Outcome::Skipped(reason)) if !may_skip => Err(anyhow::anyhow!(reason)),
            result => result,
        };
        line.took = step_began.elapsed();
        line.state = match result {
            Ok(Outcome::Passed) => State::Passed,
            Ok(Outcome::Skipped(reason)) => State::Skipped(reason),
            Err(error) => {
                failure = Some(match disk::nearly_full(&repo.metadata.target_directory) {
                    Some(note) => error.context(format!("step `{}` failed; {note}", step.name)),
                    None => error.context(format!("step `{}` failed", step.name)),
                });
                State::Failed
            }
        };
        println!("<== {}", line.text(0));
        if failure.is_some() {
            break;
        }
    }
    // Stops the services that this run started, also after a failure, and before the table, which is to be read last.
    drop(lease);
    println!("\n{}", report::table(&lines));
    match failure {
        Some(error) => Err(error),
        None => {
            println!("{}", report::success(&lines, began.elapsed()));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::{Outcome, SERVICES, STEPS, Step, WITH_SERVICES, needed, run, step};
    use crate::repo::Repo;

    fn run_one(run_step: fn(&Repo) -> anyhow::Result<Outcome>, may_skip: bool) -> anyhow::Result<()> {
        let never: Step = step("never", "a step", |_| panic!("a step after a failure was run"));
        let one = step("one", "a step", run_step);
        let repo = Repo::open().unwrap();
        match run(&repo, &[&one], may_skip) {
            Ok(()) => Ok(()),
            Err(_) => run(&repo, &[&one, &never], may_skip),
        }
    }

    #[test]
    fn a_failure_ends_the_run_and_names_the_step() {
        assert!(run_one(|_| Ok(Outcome::Passed), true).is_ok());
        let error = run_one(|_| bail!("broken"), true).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `one` failed: broken");
    }

    #[test]
    fn a_step_given_by_name_may_not_be_skipped() {
        let skips = |_: &Repo| Ok(Outcome::Skipped("not here".to_owned()));
        assert!(run_one(skips, true).is_ok());
        let error = run_one(skips, false).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `one` failed: not here");
    }

    #[test]
    fn services_are_needed_by_packages_that_exist() {
        let table = [("a", "broker"), ("b", "collector"), ("c", "broker")];
        assert_eq!(needed(&["a", "b", "c", "d"], &table), ["broker", "collector"]);
        assert_eq!(needed(&["d"], &table), [""; 0]);
        // The names in the tables exist: a misspelt one would never match.
        for name in WITH_SERVICES {
            assert!(STEPS.iter().any(|step| step.name == *name), "{name}");
        }
        for (_, service) in SERVICES {
            assert!(crate::services::names().contains(service), "{service}");
        }
    }
}
