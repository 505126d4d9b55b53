//! References: each resource that another one names exists.

use yaml_rust2::Yaml;

use super::{
    Document, is_overlay, items, kustomize, text,
    workloads::{config_map, containers, is_read, is_workload},
};
use crate::tidy::tree::{Finding, Tree};

/// The page with the commands that create what overlays leave out.
const README: &str = "deploy/kubernetes/README.md";

pub(super) fn resolved(tree: &Tree, documents: &[Document], base: &[Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in base {
        let spec = &document.yaml["spec"];
        let messages = match document.kind() {
            "Service" => service(base, spec),
            "HorizontalPodAutoscaler" => autoscaler(base, spec),
            "PodDisruptionBudget" => selected(base, &spec["selector"]["matchLabels"], &[]),
            "NetworkPolicy" => policy(base, spec),
            "Deployment" | "StatefulSet" => workload(base, document),
            _ => Vec::new(),
        };
        findings.extend(messages.into_iter().map(|message| document.finding(message)));
    }
    findings.extend(addresses(tree, documents, base));
    findings.extend(values(tree, documents, base));
    findings
}

/// Returns true if the selector has labels, and the pod has all of them.
pub(super) fn selects(selector: &Yaml, pod: &Yaml) -> bool {
    let labels = &pod["metadata"]["labels"];
    let of_all = |key: &Yaml| text(key) == "app.kubernetes.io/part-of";
    selector.as_hash().is_some_and(|selector| {
        !selector.is_empty()
            && selector.iter().all(|(key, value)| of_all(key) || labels[text(key)].as_str() == value.as_str())
    })
}

/// A selector finds a workload, whose containers have ports of these names.
fn selected(base: &[Document], selector: &Yaml, ports: &[&str]) -> Vec<String> {
    let containers = containers(base);
    let mut of_pods = containers
        .iter()
        .filter(|container| selects(selector, &container.workload.yaml["spec"]["template"]))
        .peekable();
    if of_pods.peek().is_none() {
        return vec![format!("no pod has the labels {selector:?}")];
    }
    let containers: Vec<_> = of_pods.collect();
    let missing = ports
        .iter()
        .filter(|port| !containers.iter().any(|container| container.ports().contains_key(**port)));
    missing.map(|port| format!("no container has the port `{port}`")).collect()
}

fn service(base: &[Document], spec: &Yaml) -> Vec<String> {
    let ports: Vec<_> = items(&spec["ports"]).iter().map(|port| text(&port["targetPort"])).collect();
    selected(base, &spec["selector"], &ports)
}

fn autoscaler(base: &[Document], spec: &Yaml) -> Vec<String> {
    let target = &spec["scaleTargetRef"];
    let scaled = base.iter().find(|document| {
        document.kind() == text(&target["kind"]) && document.name() == text(&target["name"])
    });
    match scaled {
        None => vec![format!("it scales `{}`, which does not exist", text(&target["name"]))],
        Some(scaled) if !scaled.yaml["spec"]["replicas"].is_badvalue() => {
            vec![format!("{} states replicas, which each `kubectl apply` would reset", scaled.path)]
        }
        Some(_) => Vec::new(),
    }
}

fn policy(base: &[Document], spec: &Yaml) -> Vec<String> {
    let rules = items(&spec["ingress"]);
    let ports = rules.iter().flat_map(|rule| items(&rule["ports"])).map(|port| text(&port["port"]));
    let peers = rules.iter().flat_map(|rule| items(&rule["from"]));
    let peers = peers.map(|peer| &peer["podSelector"]["matchLabels"]);
    let mut messages = selected(base, &spec["podSelector"]["matchLabels"], &ports.collect::<Vec<_>>());
    messages.extend(peers.flat_map(|peer| selected(base, peer, &[])));
    messages
}

fn workload(base: &[Document], document: &Document) -> Vec<String> {
    let spec = &document.yaml["spec"];
    let exists = |kind: &str, name: &str| {
        base.iter().any(|document| document.kind() == kind && document.name() == name)
    };
    let mut messages = Vec::new();
    let account = text(&spec["template"]["spec"]["serviceAccountName"]);
    if !exists("ServiceAccount", account) {
        messages.push(format!("its service account `{account}` does not exist"));
    }
    if document.kind() == "StatefulSet" && !exists("Service", text(&spec["serviceName"])) {
        messages.push(format!("its Service `{}` does not exist", text(&spec["serviceName"])));
    }
    if !selects(&spec["selector"]["matchLabels"], &spec["template"]) {
        messages.push("its pods do not have the labels of its selector".to_owned());
    }
    messages
}

/// The variables that lead from one service of the shop to another one have the name and the port of its Service.
fn addresses(tree: &Tree, documents: &[Document], base: &[Document]) -> Vec<Finding> {
    let overlays = documents.iter().filter(|document| is_overlay(document));
    let replaced = overlays.flat_map(|overlay| {
        let variables = kustomize::generated(tree, overlay, "configMapGenerator", "shop");
        variables.into_iter().map(|variable| (overlay.path.clone(), variable))
    });
    let path = format!("{}/shop.env", super::BASE);
    let variables = config_map(tree).into_iter().map(|variable| (path.clone(), variable));
    let mut findings = Vec::new();
    for (path, (name, value)) in variables.chain(replaced) {
        let is_used = name == "DEPLOYMENT_ENVIRONMENT" || is_read(tree, &name);
        if !is_used {
            findings.push(Finding::new(&*path, 1, format!("nothing reads {name}")));
        }
        if ["SHOP_CATALOGUE", "SHOP_ORDERS", "SHOP_PAYMENTS"].contains(&&*name) {
            for address in value.split(',').filter(|address| !leads_to_service(base, address)) {
                let message = format!("{name}: no Service has the address `{address}`");
                findings.push(Finding::new(&*path, 1, message));
            }
        }
    }
    findings
}

/// Parses `http://SERVICE:PORT`, or `POD.SERVICE:PORT` for a pod of a StatefulSet.
fn leads_to_service(base: &[Document], address: &str) -> bool {
    let Some((host, port)) = address.trim_start_matches("http://").rsplit_once(':') else { return false };
    let (pod, service) = host.split_once('.').map_or((None, host), |(pod, service)| (Some(pod), service));
    let has_pod = |pod: &str| {
        base.iter().filter(|document| is_workload(document)).any(|document| {
            let replicas = document.yaml["spec"]["replicas"].as_i64().unwrap_or_default();
            text(&document.yaml["spec"]["serviceName"]) == service
                && (0..replicas).any(|ordinal| format!("{}-{ordinal}", document.name()) == pod)
        })
    };
    pod.is_none_or(has_pod)
        && base.iter().any(|document| {
            let mut ports = items(&document.yaml["spec"]["ports"]).iter();
            document.kind() == "Service"
                && document.name() == service
                && ports
                    .any(|one| one["port"].as_i64().map(|number| number.to_string()).as_deref() == Some(port))
        })
}

/// Each ConfigMap that a container names is generated by the base, and each key of a Secret by each overlay or by a command
/// of the README.
fn values(tree: &Tree, documents: &[Document], base: &[Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let maps = config_map(tree);
    let readme = tree.file(README).map_or("", |file| &file.text);
    for container in containers(base) {
        let mut missing = |message: String| findings.push(container.workload.finding(message));
        for source in items(&container.yaml["envFrom"]) {
            if text(&source["configMapRef"]["name"]) != "shop" || maps.is_empty() {
                missing("`envFrom` names a ConfigMap that no kustomization generates".to_owned());
            }
        }
        for variable in items(&container.yaml["env"]) {
            let map = &variable["valueFrom"]["configMapKeyRef"];
            let has_key =
                || text(&map["name"]) == "shop" && maps.iter().any(|(key, _)| key == text(&map["key"]));
            if !map.is_badvalue() && !has_key() {
                missing(format!("no ConfigMap has the key `{}`", text(&map["key"])));
            }
            let secret = &variable["valueFrom"]["secretKeyRef"];
            let (name, key) = (text(&secret["name"]), text(&secret["key"]));
            if secret.is_badvalue() {
                continue;
            }
            let by_command = readme.contains(&format!("create secret generic {name} "))
                && readme.contains(&format!("--from-literal={key}="));
            for overlay in documents.iter().filter(|document| is_overlay(document)) {
                let generated = kustomize::generated(tree, overlay, "secretGenerator", name);
                let has_generator = !overlay.yaml["secretGenerator"].is_badvalue();
                let exists =
                    if has_generator { generated.iter().any(|(set, _)| set == key) } else { by_command };
                if !exists {
                    missing(format!("{} has no Secret `{name}` with `{key}`", overlay.path));
                }
            }
        }
    }
    findings
}
