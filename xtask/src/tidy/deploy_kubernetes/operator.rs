//! The resources of the OpenTelemetry Operator: the parts that its documentation requires, and the names that it derives.
//!
//! Follows [the Operator's documentation](https://opentelemetry.io/docs/platforms/kubernetes/operator/).

use std::collections::BTreeSet;

use yaml_rust2::Yaml;

use super::{Document, items, text, workloads::config_map};
use crate::tidy::tree::{Finding, Tree};

const FOLDER: &str = "deploy/kubernetes/operator";

/// The variable of the shop with the address of the Collector.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The propagators of the shop's services, by default.
const PROPAGATORS: [&str; 2] = ["tracecontext", "baggage"];

pub(super) fn complete(tree: &Tree, documents: &[Document]) -> Vec<Finding> {
    let of_kind = |kind: &'static str| {
        documents.iter().filter(move |document| document.folder() == FOLDER && document.kind() == kind)
    };
    let mut findings = Vec::new();
    for collector in of_kind("OpenTelemetryCollector") {
        let mut messages = pipelines(&collector.yaml["spec"]["config"]);
        let account = text(&collector.yaml["spec"]["serviceAccount"]);
        if !of_kind("ServiceAccount").any(|document| document.name() == account) {
            messages.push(format!("its service account `{account}` does not exist"));
        }
        let address = address(collector);
        if !config_map(tree).iter().any(|(name, value)| name == ENDPOINT && Some(value) == address.as_ref()) {
            messages.push(format!("{ENDPOINT} of the shop is not its address, {address:?}"));
        }
        for instrumentation in of_kind("Instrumentation") {
            let spec = &instrumentation.yaml["spec"];
            if spec["exporter"]["endpoint"].as_str() != address.as_deref() {
                let message = format!("its endpoint is not the Collector's, {address:?}");
                findings.push(instrumentation.finding(message));
            }
            if !items(&spec["propagators"]).iter().map(text).eq(PROPAGATORS) {
                let message = format!("its propagators are not those of the shop, {PROPAGATORS:?}");
                findings.push(instrumentation.finding(message));
            }
        }
        findings.extend(messages.into_iter().map(|message| collector.finding(message)));
    }
    for kind in ["OpenTelemetryCollector", "Instrumentation"] {
        if of_kind(kind).count() != 1 {
            findings.push(Finding::new(FOLDER, 1, format!("there is not one {kind}")));
        }
    }
    findings
}

/// The address of the Service that the Operator makes of a Collector, `NAME-collector`, for OTLP over HTTP.
fn address(collector: &Document) -> Option<String> {
    let protocols = &collector.yaml["spec"]["config"]["receivers"]["otlp"]["protocols"];
    let (_, port) = text(&protocols["http"]["endpoint"]).rsplit_once(':')?;
    Some(format!("http://{}-collector:{port}", collector.name()))
}

/// Each component of a pipeline is configured, and each that is configured is in a pipeline.
fn pipelines(config: &Yaml) -> Vec<String> {
    let mut messages = Vec::new();
    let pipelines: Vec<_> = config["service"]["pipelines"].as_hash().into_iter().flatten().collect();
    for kind in ["receivers", "processors", "exporters"] {
        let names = |yaml: &Yaml| -> BTreeSet<String> {
            yaml.as_hash().into_iter().flatten().map(|(name, _)| text(name).to_owned()).collect()
        };
        let configured = names(&config[kind]);
        let used: BTreeSet<_> = pipelines
            .iter()
            .flat_map(|(_, pipeline)| items(&pipeline[kind]))
            .map(|name| text(name).to_owned())
            .collect();
        if used.is_empty() {
            messages.push(format!("no pipeline has {kind}"));
        }
        for name in configured.symmetric_difference(&used) {
            messages.push(format!("`{name}` of the {kind} is in no pipeline, or is not configured"));
        }
    }
    messages
}
