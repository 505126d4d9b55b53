//! `cargo xtask ci`: every step that a change has to pass, in an order that fails fast.
//!
//! This file owns the table of steps and how they are run and reported; what a step does is in `ci/steps.rs`.

mod deny;
mod report;
mod steps;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::{
    ci::report::{Line, State},
    repo::Repo,
    services::Lease,
};

/// One step of the run.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Repo) -> Result<Outcome>,
}

/// How a step ended that did not fail.
enum Outcome {
    Passed,
    /// It could not be run here; the reason is shown, twice.
    Skipped(String),
}

/// All steps, the quick ones first. A new one is one entry here and one function in `steps.rs`.
const STEPS: &[Step] = &[
    Step { name: "tools", about: "rustfmt and clippy are installed", run: steps::tools },
    Step { name: "fmt", about: "the code is formatted", run: steps::fmt },
    Step { name: "tidy", about: "the tree has its shape", run: steps::tidy },
    Step { name: "clippy", about: "no warning, in every target, with all features", run: steps::clippy },
    Step { name: "test", about: "all tests and doctests, with all features", run: steps::test },
    Step {
        name: "test-default",
        about: "the libraries' tests, with default features",
        run: steps::test_default,
    },
    Step { name: "features", about: "each crate alone: without, with each, with all", run: steps::features },
    Step { name: "doc", about: "the documentation builds without warnings", run: steps::doc },
    Step { name: "benchmarks", about: "the workspace of benchmarks has no warning", run: steps::benchmarks },
    Step { name: "fuzz", about: "the fuzz targets have no warning", run: steps::fuzz },
    Step {
        name: "valgrind",
        about: "the one module with `unsafe` code reads no byte too much",
        run: steps::valgrind,
    },
    Step { name: "msrv", about: "the libraries build with the oldest Rust supported", run: steps::msrv },
    Step { name: "deny", about: "licences, sources and bans of all dependencies", run: steps::deny },
    Step { name: "rest-api", about: "the example runs and draws a trace", run: steps::rest_api },
    Step { name: "chat", about: "the example runs and draws a trace", run: steps::chat },
    Step { name: "orders", about: "the example runs and draws a trace", run: steps::orders },
    Step { name: "transfer", about: "the example runs and draws a trace", run: steps::transfer },
    Step { name: "soak-http", about: "20,000 HTTP requests, each accounted for", run: steps::soak_http },
    Step {
        name: "soak-kafka",
        about: "50,000 Kafka messages, each accounted for; the broker is killed midway",
        run: steps::soak_kafka,
    },
];

/// What the tests of a package talk to: they need the service only while there is the package.
const SERVICES: &[(&str, &str)] = &[
    ("orders", "kafka"),
    ("otel-kafka", "kafka"),
    ("otel-saga", "postgres"),
    ("otel-telemetry", "collector"),
    ("rest-api", "collector"),
    ("soak", "kafka"),
    ("transfer", "postgres"),
];

/// The steps in which those tests run, and the soaks that need one. Services are started before the first of them and stopped at the end.
const TALKING: &[&str] = &["test", "test-default", "soak-kafka"];

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    if arguments == ["--list"] {
        for step in STEPS {
            println!("{:<14} {}", step.name, step.about);
        }
        return Ok(());
    }
    let chosen = chosen(STEPS, arguments)?;
    // Who asks for a step by its name wants it run.
    run(&Repo::open()?, &chosen, arguments.is_empty())
}

/// The steps that were named, in the order of the table; all of them if none was.
fn chosen<'a>(steps: &'a [Step], names: &[String]) -> Result<Vec<&'a Step>> {
    if let Some(unknown) = names.iter().find(|name| steps.iter().all(|step| step.name != name.as_str())) {
        let list: Vec<_> = steps.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`. There are: {}", list.join(", "));
    }
    Ok(steps.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)).collect())
}

/// The services that the packages need.
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

fn lease(repo: &Repo) -> Result<Lease> {
    let packages: Vec<_> = repo.metadata.packages.iter().map(|package| package.name.as_str()).collect();
    Lease::take(&repo.root, &needed(&packages, SERVICES))
}

/// Runs the steps until one fails, then shows all of them with their results and durations.
fn run(repo: &Repo, steps: &[&Step], may_skip: bool) -> Result<()> {
    let began = Instant::now();
    let mut lines: Vec<_> = steps.iter().map(|step| Line::new(step.name)).collect();
    let mut failure = None;
    let mut services = None;
    for (step, line) in steps.iter().zip(&mut lines) {
        println!("\n==> {}: {}", step.name, step.about);
        let step_began = Instant::now();
        let result = if TALKING.contains(&step.name) && services.is_none() {
            lease(repo).and_then(|lease| {
                services = Some(lease);
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
                failure = Some(error.context(format!("step `{}` failed", step.name)));
                State::Failed
            }
        };
        println!("<== {}", line.text(0));
        if failure.is_some() {
            break;
        }
    }
    // Stops what was started for this run, also after a failure, and before the table, which is to be read last.
    drop(services);
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

    use super::{Outcome, SERVICES, STEPS, Step, TALKING, chosen, needed, run};
    use crate::repo::Repo;

    fn step(run: fn(&Repo) -> anyhow::Result<Outcome>) -> Step {
        Step { name: "one", about: "a step", run }
    }

    fn run_one(run_step: fn(&Repo) -> anyhow::Result<Outcome>, may_skip: bool) -> anyhow::Result<()> {
        let never = step(|_| panic!("a step after a failure was run"));
        let one = step(run_step);
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
    fn a_step_that_was_named_may_not_be_skipped() {
        let skips = |_: &Repo| Ok(Outcome::Skipped("not here".to_owned()));
        assert!(run_one(skips, true).is_ok());
        let error = run_one(skips, false).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `one` failed: not here");
    }

    #[test]
    fn steps_are_chosen_by_name_in_the_order_of_the_table() {
        let names = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(STEPS, &names).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        assert_eq!(names(&["clippy", "fmt"]).unwrap(), ["fmt", "clippy"]);
        let error = names(&["fmt", "clipy"]).unwrap_err().to_string();
        assert!(error.starts_with("there is no step `clipy`. There are: tools, fmt, "), "{error}");
    }
    #[test]
    fn services_are_needed_by_packages_that_exist() {
        let table = [("a", "broker"), ("b", "collector"), ("c", "broker")];
        assert_eq!(needed(&["a", "b", "c", "d"], &table), ["broker", "collector"]);
        assert_eq!(needed(&["d"], &table), [""; 0]);
        // Names are right, too: these would be misspelt without anybody noticing.
        for name in TALKING {
            assert!(STEPS.iter().any(|step| step.name == *name), "{name}");
        }
        for (_, service) in SERVICES {
            assert!(crate::services::names().contains(service), "{service}");
        }
    }
}
