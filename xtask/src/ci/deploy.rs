//! The steps for `deploy/`: `deploy-files` validates the files with the programs that read them, and `deploy-compose` sends the
//! telemetry of the shop through them.

mod backends;
mod collector;
mod faults;
mod shop;
mod traces;

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use yaml_rust2::{YamlEmitter, YamlLoader};

use crate::{
    ci::{Outcome, deploy::backends::Backends},
    process::{answer, program, run_within},
    repo::Repo,
    services::{compose_file, debian, jaeger, opentelemetry_collector, prometheus},
};

pub(super) const COMPOSE: &str = "deploy/compose";

/// The resource of the OpenTelemetry Operator with the configuration of a Collector.
const OPERATOR: &str = "deploy/kubernetes/operator/collector.yaml";

/// Timeout of a program that reads a file.
const READS: Duration = Duration::from_secs(60);

/// Validates the Compose file, the configurations and the alerts, each by the program that reads it. A wrong file is refused: the
/// last part of each check shows it.
pub(super) fn files(repo: &Repo) -> Result<Outcome> {
    if let Some(reason) = missing(&repo.root) {
        return Ok(Outcome::Skipped(reason));
    }
    let validator = compose_file::validator(&repo.root)?;
    let check_compose = |file: &Path| {
        let mut command = Command::new(&validator);
        command.current_dir(&repo.root).arg(file);
        command
    };
    let file = format!("{COMPOSE}/compose.yaml");
    accepts(repo, &file, "depends_on:", "depend_on:", check_compose)?;
    accepts(repo, &file, "/Dockerfile", "/README.md", check_compose)?;

    let collector = opentelemetry_collector::server(&repo.root)?;
    for file in [format!("{COMPOSE}/collector/config.yaml"), operator_configuration(repo)?] {
        let validate = |file: &Path| {
            let mut command = Command::new(&collector);
            // The variable that the Operator's resource sets.
            command.current_dir(&repo.root).env("K8S_NODE_NAME", "node");
            command.args(["validate", "--config"]).arg(file);
            command
        };
        accepts(repo, &file, "check_interval:", "check_time:", validate)?;
    }

    let promtool = |arguments: &'static [&'static str]| {
        move |file: &Path| {
            // The rules are named relative to the folder of their tests.
            let mut command = program("promtool", file.parent().unwrap_or(file));
            command.args(arguments).arg(file);
            command
        }
    };
    let file = |name: &str| format!("{COMPOSE}/prometheus/{name}");
    accepts(repo, &file("prometheus.yaml"), "honor_labels", "honour_labels", promtool(&["check", "config"]))?;
    accepts(repo, &file("alerts.yaml"), "sum by", "sum bye", promtool(&["check", "rules"]))?;
    accepts(
        repo,
        &file("alerts.test.yaml"),
        "exp_alerts: []",
        "exp_alerts: [{}]",
        promtool(&["test", "rules"]),
    )?;
    Ok(Outcome::Passed)
}

/// Writes the configuration inside of the Operator's resource to a file of its own, and returns its path.
fn operator_configuration(repo: &Repo) -> Result<String> {
    let path = repo.root.join(OPERATOR);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {OPERATOR}"))?;
    let documents = YamlLoader::load_from_str(&text).with_context(|| format!("cannot parse {OPERATOR}"))?;
    let resource = documents.first().with_context(|| format!("{OPERATOR} is empty"))?;
    let mut configuration = String::new();
    YamlEmitter::new(&mut configuration).dump(&resource["spec"]["config"])?;
    let folder = repo.root.join("target/deploy/operator");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join("collector.yaml");
    fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file.display().to_string())
}

/// Runs the command on the file, which it has to accept, and on a copy beside it with a fault, which it has to refuse.
fn accepts(repo: &Repo, file: &str, from: &str, to: &str, command: impl Fn(&Path) -> Command) -> Result<()> {
    let path = repo.root.join(file);
    run_within(&mut command(&path), READS)?;
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
    let wrong = text.replacen(from, to, 1);
    if wrong == text {
        bail!("{file} has no `{from}`, in whose place a fault was to be refused");
    }
    // Beside the file, because it names others by relative paths.
    let copy = path.with_extension("fault.yaml");
    fs::write(&copy, wrong).with_context(|| format!("cannot write {}", copy.display()))?;
    let accepted = answer(&mut command(&copy)).is_some();
    fs::remove_file(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    if accepted {
        bail!("{file} was accepted with `{to}` in place of `{from}`");
    }
    Ok(())
}

/// Runs the shop with the Collector, Jaeger and Prometheus of the Compose file, natively.
pub(super) fn compose(repo: &Repo) -> Result<Outcome> {
    if let Some(reason) = missing(&repo.root) {
        return Ok(Outcome::Skipped(reason));
    }
    let programs = backends::Programs {
        collector: opentelemetry_collector::server(&repo.root)?,
        jaeger: jaeger::server(&repo.root)?,
    };
    let backends = Backends::start(&repo.root, &programs)?;
    let traces = shop::run_shop(repo, &backends)?;
    traces::are_complete(&backends, &traces)?;
    traces::are_sampled(&backends)?;
    backends.collector.has_log_lines()?;
    shop::dashboard_has_data(repo, &backends)?;
    shop::alert_of_slow_requests(&backends)?;
    faults::alerts_fire(&backends)?;
    shop::alert_of_a_stopped_collector(&backends)?;
    Ok(Outcome::Passed)
}

/// The reason why the steps cannot run on this machine. A language is never installed unasked.
fn missing(root: &Path) -> Option<String> {
    if !debian::has("go") {
        return Some("Go is not installed".to_owned());
    }
    prometheus::install(root).err().map(|error| format!("{error:#}"))
}
