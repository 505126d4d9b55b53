//! Workloads: their programs, ports, probes and variables are those of the source.

use std::collections::BTreeMap;

use yaml_rust2::Yaml;

use super::{Document, items, kustomize, text};
use crate::tidy::tree::{Finding, Tree};

/// The folder of the shop's programs.
const PROGRAMS: &str = "examples/shop/src/bin/";

/// The program that starts the others on one machine.
const DEMONSTRATION: &str = "shop-demo";

/// The file with the routes of the probes.
const ROUTES: &str = "crates/otel-telemetry/src/health/axum.rs";

/// A container, with the pod's workload.
pub(super) struct Container<'a> {
    pub(super) workload: &'a Document,
    pub(super) yaml: &'a Yaml,
}

impl<'a> Container<'a> {
    /// The ports by their names.
    pub(super) fn ports(&self) -> BTreeMap<&'a str, i64> {
        let ports = items(&self.yaml["ports"]).iter();
        ports.map(|port| (text(&port["name"]), port["containerPort"].as_i64().unwrap_or_default())).collect()
    }

    /// The variables that are set one by one, with the values of those that have one in place.
    fn variables(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        items(&self.yaml["env"]).iter().map(|variable| (text(&variable["name"]), text(&variable["value"])))
    }
}

/// The containers of all workloads.
pub(super) fn containers(base: &[Document]) -> Vec<Container<'_>> {
    let workloads = base.iter().filter(|document| is_workload(document));
    let containers = workloads.flat_map(|workload| {
        let containers = items(&workload.yaml["spec"]["template"]["spec"]["containers"]).iter();
        containers.map(move |yaml| Container { workload, yaml })
    });
    containers.collect()
}

pub(super) fn is_workload(document: &Document) -> bool {
    matches!(document.kind(), "Deployment" | "StatefulSet")
}

pub(super) fn agree(tree: &Tree, base: &[Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let containers = containers(base);
    for container in &containers {
        let messages =
            [probes(tree, container), variables(tree, container), shutdown(base, container)].concat();
        findings.extend(messages.into_iter().map(|message| container.workload.finding(message)));
    }
    let programs = tree.files.iter().filter_map(|file| file.path.strip_prefix(PROGRAMS)?.strip_suffix(".rs"));
    for program in programs.filter(|program| *program != DEMONSTRATION) {
        if !containers.iter().any(|container| program_of(container) == program) {
            let message = format!("no workload of {} runs `{program}`", super::BASE);
            findings.push(Finding::new(format!("{PROGRAMS}{program}.rs"), 1, message));
        }
    }
    findings
}

/// The name of the program that a container runs.
fn program_of<'a>(container: &Container<'a>) -> &'a str {
    let command = items(&container.yaml["command"]).first().map_or("", text);
    command.rsplit('/').next().unwrap_or_default()
}

fn probes(tree: &Tree, container: &Container<'_>) -> Vec<String> {
    let source = tree.file(ROUTES).map_or("", |file| &file.text);
    let mut messages = Vec::new();
    for probe in ["livenessProbe", "readinessProbe"] {
        let probed = &container.yaml[probe]["httpGet"];
        let (path, port) = (text(&probed["path"]), text(&probed["port"]));
        if path.is_empty() || !source.contains(&format!(".route(\"{path}\"")) {
            messages.push(format!("the {probe} asks for `{path}`, which {ROUTES} does not serve"));
        }
        if !container.ports().contains_key(port) {
            messages.push(format!("the {probe} asks the port `{port}`, which the container does not have"));
        }
    }
    messages
}

fn variables(tree: &Tree, container: &Container<'_>) -> Vec<String> {
    let program = program_of(container);
    let Some(source) = tree.file(&format!("{PROGRAMS}{program}.rs")) else {
        return vec![format!("`{program}` is not a program of {PROGRAMS}")];
    };
    let mut messages = Vec::new();
    let from_map = config_map(tree);
    let names =
        || container.variables().map(|(name, _)| name).chain(from_map.iter().map(|(name, _)| &**name));
    for required in settings(&source.text) {
        if !names().any(|name| name == required) {
            messages.push(format!("`{program}` reads {required}, which is not set"));
        }
    }
    let mut earlier = Vec::new();
    let mut referenced = Vec::new();
    for (name, value) in container.variables() {
        for reference in references(value) {
            if !earlier.contains(&reference) {
                messages.push(format!("{name} refers to {reference}, which is not set before it"));
            }
            referenced.push(reference);
        }
        earlier.push(name);
        let port = value.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        if ["SHOP_LISTEN", "SHOP_HEALTH"].contains(&name)
            && !container.ports().values().any(|number| Some(*number) == port)
        {
            messages.push(format!("{name} is `{value}`, whose port the container does not have"));
        }
    }
    for name in container.variables().map(|(name, _)| name) {
        if !referenced.contains(&name) && !is_read(tree, name) {
            messages.push(format!("nothing reads {name}"));
        }
    }
    for name in ["SHOP_LISTEN", "SHOP_HEALTH"] {
        let expected = name == "SHOP_HEALTH" || source.text.contains("service.listen()");
        if container.variables().any(|(set, _)| set == name) != expected {
            let is = if expected { "needs" } else { "does not read" };
            messages.push(format!("`{program}` {is} {name}"));
        }
    }
    messages
}

/// The variables of the ConfigMap that all containers have.
pub(super) fn config_map(tree: &Tree) -> Vec<(String, String)> {
    let path = format!("{}/kustomization.yaml", super::BASE);
    let read = tree.file(&path).and_then(|file| super::parse(file).ok()).unwrap_or_default();
    read.iter()
        .flat_map(|document| kustomize::generated(tree, document, "configMapGenerator", "shop"))
        .collect()
}

/// The settings that a program's source asks for.
fn settings(source: &str) -> Vec<&str> {
    source.split("setting(\"").skip(1).filter_map(|rest| Some(rest.split_once("\")")?.0)).collect()
}

/// The variables that a value refers to by `$(NAME)`.
fn references(value: &str) -> Vec<&str> {
    value.split("$(").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

/// Returns true if the shop or otel-telemetry has the name of the variable in its source.
pub(super) fn is_read(tree: &Tree, name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    let mut sources = tree.sources().filter(|file| {
        ["examples/shop/src/", "crates/otel-telemetry/src/"]
            .iter()
            .any(|folder| file.path.starts_with(folder))
    });
    sources.any(|file| file.text.contains(&quoted))
}

/// A server that others call keeps its listener for some time after its address is withdrawn; a consumer need not.
fn shutdown(base: &[Document], container: &Container<'_>) -> Vec<String> {
    let pod = &container.workload.yaml["spec"]["template"];
    let delay = container.yaml["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64();
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or_default();
    let is_called = base.iter().any(|document| {
        document.kind() == "Service" && super::references::selects(&document.yaml["spec"]["selector"], pod)
    });
    let mut messages = Vec::new();
    if is_called != delay.is_some() {
        let has = if is_called { "a Service and no" } else { "no Service and a" };
        messages.push(format!("it has {has} `preStop`"));
    }
    // Twelve seconds for the work in progress, and five each for spans that are open and for the telemetry, as in the shop's `run`.
    if grace < delay.unwrap_or_default() + 22 {
        messages.push("terminationGracePeriodSeconds is too short for a shutdown in order".to_owned());
    }
    messages
}
