//! `deploy/compose/compose.yaml` agrees with the sources of the shop and with the files beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;
use yaml_rust2::Yaml;

use crate::tidy::{
    deploy::{documents, each, is_yaml, line_of},
    tree::{File, Finding, Tree},
};

const FOLDER: &str = "deploy/compose/";
const COMPOSE: &str = "deploy/compose/compose.yaml";
const SHOP: &str = "examples/shop/src/";
const VARIABLES: &str = "crates/otel-telemetry/src/env/variables.rs";

/// The ports of servers that no file of this repository sets.
const PORTS: &[(&str, u16)] = &[
    ("consul", 8500),
    ("grafana", 3000),
    ("nats", 4222),
    ("postgres", 5432),
    ("prometheus", 9090),
    ("rabbitmq", 5672),
];

#[expect(clippy::unwrap_used, reason = "constant expressions, which the tests compile")]
static SETTING: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"setting\("([A-Z_]+)"\)"#).unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^a-z0-9.-])([a-z][a-z0-9-]*):(\d{4,5})(?:$|[^\d])").unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static DEFAULT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{env:[A-Z_]+:-([^}]*)\}").unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static SUPPORTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\("(OTEL_[A-Z_{},]+)",\s*(?:Tls)?Since\("#).unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static BRACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{([A-Z_,]*)\}").unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static TOPIC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"const ORDER_PLACED: &str = "([^"]+)""#).unwrap());

/// The services of the file by their names.
type Services = BTreeMap<String, Yaml>;

fn services(file: &File) -> Services {
    let services = documents(file).into_iter().next().map(|compose| compose["services"].clone());
    let entries = services.and_then(Yaml::into_hash).unwrap_or_default();
    entries.into_iter().filter_map(|(name, service)| Some((name.into_string()?, service))).collect()
}

fn environment(service: &Yaml) -> BTreeMap<&str, &str> {
    let entries = service["environment"].as_hash().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.as_str()?, value.as_str()?))).collect()
}

/// The shop's binaries exist, have all settings that they need, and no variable that nothing reads.
pub(in crate::tidy) fn variables(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(COMPOSE) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut add =
        |at: &str, message: String| findings.push(Finding::new(COMPOSE, line_of(file, at), message));
    let supported = supported(tree);
    let common: String = tree
        .sources()
        .filter(|one| one.path.starts_with(SHOP) && !one.path.contains("/bin/"))
        .map(|one| &*one.text)
        .collect();
    for (name, service) in services(file).iter().filter(|(_, service)| !service["build"].is_badvalue()) {
        let binary = service["command"][0].as_str().unwrap_or_default();
        let Some(source) = tree.file(&format!("{SHOP}bin/{binary}.rs")) else {
            add(&format!("  {name}:"), format!("{name}: the shop has no binary `{binary}`"));
            continue;
        };
        let set = environment(service);
        for setting in SETTING.captures_iter(&source.text).map(|found| found[1].to_owned()) {
            if !set.contains_key(&*setting) {
                add(&format!("  {name}:"), format!("{name}: {binary} reads {setting}, which is not set"));
            }
        }
        for variable in set.keys() {
            let literal = format!("\"{variable}\"");
            let is_read = if variable.starts_with("OTEL_") {
                supported.contains(*variable)
            } else {
                *variable == "RUST_LOG" || source.text.contains(&literal) || common.contains(&literal)
            };
            if !is_read {
                add(variable, format!("{name}: nothing reads {variable}"));
            }
        }
    }
    findings
}

/// The variables of OpenTelemetry that otel-telemetry supports.
fn supported(tree: &Tree) -> BTreeSet<String> {
    let text = tree.file(VARIABLES).map_or("", |file| &*file.text);
    SUPPORTED.captures_iter(text).flat_map(|found| expand(&found[1])).collect()
}

/// Expands alternatives in braces, as a shell does.
fn expand(pattern: &str) -> Vec<String> {
    let Some(found) = BRACES.captures(pattern) else { return vec![pattern.to_owned()] };
    let alternatives: Vec<_> = found[1].split(',').map(|one| pattern.replacen(&found[0], one, 1)).collect();
    alternatives.iter().flat_map(|one| expand(one)).collect()
}

/// Each address `service:port` in the folder is a port of that service.
pub(in crate::tidy) fn ports(tree: &Tree) -> Vec<Finding> {
    let Some(compose) = tree.file(COMPOSE) else { return Vec::new() };
    let services = services(compose);
    let ports: BTreeMap<_, _> = services.iter().map(|(name, one)| (name, listens(tree, name, one))).collect();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER) && is_yaml(file)) {
        for document in documents(file) {
            each(&document, &mut |key, value| {
                let Some(text) = value.as_str().filter(|_| key != "image") else { return };
                for found in ADDRESS.captures_iter(text) {
                    let (host, port) = (&found[1], &found[2]);
                    let message = match ports.get(&host.to_owned()) {
                        Some(ports) if ports.contains(port) => continue,
                        Some(_) => format!("{host} does not listen at {port}"),
                        None if host == "localhost" => continue,
                        None => format!("no service is called {host}"),
                    };
                    findings.push(Finding::new(
                        &*file.path,
                        line_of(file, &format!("{host}:{port}")),
                        message,
                    ));
                }
            });
        }
    }
    for (name, service) in &services {
        for published in service["ports"].as_vec().into_iter().flatten().filter_map(Yaml::as_str) {
            let inside = published.rsplit(':').next().unwrap_or_default();
            if !ports[name].contains(inside) {
                let message = format!("{name} does not listen at {inside}");
                findings.push(Finding::new(COMPOSE, line_of(compose, published), message));
            }
        }
    }
    // A mapping is read once for each alias of it.
    findings.sort();
    findings.dedup();
    findings
}

/// The ports of a service: by its environment, by the defaults of the configuration that it mounts, or as known.
fn listens(tree: &Tree, name: &str, service: &Yaml) -> BTreeSet<String> {
    let known = PORTS.iter().filter(|(known, _)| *known == name).map(|(_, port)| port.to_string());
    let listeners = ["SHOP_LISTEN", "KAFKA_LISTENERS"];
    let set = environment(service).into_iter().filter(|(name, _)| listeners.contains(name));
    let set = set.flat_map(|(_, value)| value.split([',', ':'])).filter_map(port);
    let configurations = mounted(service).filter_map(|path| tree.file(&path));
    let defaults = configurations.flat_map(|file| DEFAULT.captures_iter(&file.text)).filter_map(|found| {
        let text = found.get(1).map_or("", |text| text.as_str());
        port(text.strip_prefix("0.0.0.0:").unwrap_or(text))
    });
    known.chain(set).chain(defaults).collect()
}

fn port(text: &str) -> Option<String> {
    text.parse::<u16>().ok().filter(|port| *port > 1023).map(|port| port.to_string())
}

/// The paths of the files and folders of this repository that a service mounts.
fn mounted(service: &Yaml) -> impl Iterator<Item = String> {
    let volumes = service["volumes"].as_vec().into_iter().flatten().filter_map(Yaml::as_str);
    volumes.filter_map(|volume| {
        let path = volume.strip_prefix("./")?.split(':').next()?;
        Some(format!("{FOLDER}{path}"))
    })
}

/// Mounted files exist, the variables of the Collector and Jaeger are those of their configurations, and the topic is the shop's.
pub(in crate::tidy) fn files(tree: &Tree) -> Vec<Finding> {
    let Some(compose) = tree.file(COMPOSE) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut add =
        |at: &str, message: String| findings.push(Finding::new(COMPOSE, line_of(compose, at), message));
    for (name, service) in &services(compose) {
        let paths: Vec<_> = mounted(service).collect();
        for path in &paths {
            let folder = format!("{path}/");
            if !tree.files.iter().any(|file| file.path == *path || file.path.starts_with(&folder)) {
                add(path.trim_start_matches(FOLDER), format!("{name}: {path} does not exist"));
            }
        }
        let configuration: String = paths.iter().filter_map(|path| Some(&*tree.file(path)?.text)).collect();
        if configuration.contains("${env:") {
            for variable in environment(service).keys() {
                if !configuration.contains(&format!("${{env:{variable}")) {
                    add(variable, format!("{name}: its configuration has no {variable}"));
                }
            }
        }
        if name == "topics" {
            let messages = tree.file(&format!("{SHOP}messages.rs")).map_or("", |file| &*file.text);
            let topic =
                TOPIC.captures(messages).map(|found| format!("--topic={}", &found[1])).unwrap_or_default();
            let command = service["command"].as_vec().into_iter().flatten();
            if !command.filter_map(Yaml::as_str).any(|argument| argument == topic) {
                add("--topic=", format!("{name}: the shop's topic needs `{topic}`"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{COMPOSE, VARIABLES, expand, files, ports, variables};
    use crate::tidy::tree::{Finding, Tree, tree};

    const RIGHT: &str = "\
x-otel: &otel {OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', RUST_LOG: info}
services:
  gateway:
    build: .
    command: [shop-gateway]
    environment: {<<: *otel, SHOP_LISTEN: '0.0.0.0:8080', SHOP_ORDERS: 'http://orders:8080'}
    ports: ['127.0.0.1:80:8080']
  orders: {build: ., command: [shop-orders], environment: {SHOP_LISTEN: '0.0.0.0:8080', KAFKA_BROKERS: 'kafka:9092'}}
  kafka: {image: 'kafka:1', environment: {KAFKA_LISTENERS: 'PLAINTEXT://:9092,CONTROLLER://:9093'}}
  topics: {image: 'kafka:1', command: [create, --topic=order-placed]}
  collector: {image: 'collector:1', environment: {SHARE: '5'}, volumes: ['./collector.yaml:/etc/collector.yaml:ro']}
";

    fn compose(text: &str) -> Tree {
        tree(&[
            (COMPOSE, text),
            (
                "deploy/compose/collector.yaml",
                "http: '${env:HTTP:-0.0.0.0:4318}'\nshare: '${env:SHARE:-10}'\n",
            ),
            (
                VARIABLES,
                "(\"OTEL_EXPORTER_OTLP_{,TRACES_}ENDPOINT\", Since(\"0.1.0\")),\n(\"OTEL_ENTITIES\", Warned(\"no\")),\n",
            ),
            ("examples/shop/src/service.rs", "setting_or(\"SHOP_LISTEN\", \"\")"),
            ("examples/shop/src/messages.rs", "pub const ORDER_PLACED: &str = \"order-placed\";"),
            ("examples/shop/src/bin/shop-gateway.rs", "setting(\"SHOP_ORDERS\")"),
            ("examples/shop/src/bin/shop-orders.rs", "setting(\"KAFKA_BROKERS\")"),
        ])
    }

    /// The findings after a change of the file.
    fn after(rule: fn(&Tree) -> Vec<Finding>, from: &str, to: &str) -> Vec<String> {
        assert!(RIGHT.contains(from), "{from}");
        rule(&compose(&RIGHT.replacen(from, to, 1))).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_file_that_agrees_has_no_finding() {
        for rule in [variables, ports, files] {
            assert_eq!(rule(&compose(RIGHT)), []);
        }
    }

    #[test]
    fn variables_are_those_of_the_binaries() {
        let found = |from, to| after(variables, from, to);
        assert_eq!(found("[shop-gateway]", "[shop-gate]"), ["gateway: the shop has no binary `shop-gate`"]);
        let expected = [
            "gateway: shop-gateway reads SHOP_ORDERS, which is not set",
            "gateway: nothing reads SHOP_ORDER",
        ];
        assert_eq!(found("SHOP_ORDERS", "SHOP_ORDER"), expected);
        assert_eq!(found("RUST_LOG", "OTEL_ENTITIES"), ["gateway: nothing reads OTEL_ENTITIES"]);
        assert_eq!(
            found("KAFKA_BROKERS", "KAFKA_BROKERS: a, SHOP_ORDERS"),
            ["orders: nothing reads SHOP_ORDERS"]
        );
    }

    #[test]
    fn ports_are_those_that_are_listened_at() {
        let found = |from, to| after(ports, from, to);
        assert_eq!(found("collector:4318", "collector:4317"), ["collector does not listen at 4317"]);
        assert_eq!(found("orders:8080", "order:8080"), ["no service is called order"]);
        assert_eq!(found("kafka:9092", "kafka:9094"), ["kafka does not listen at 9094"]);
        assert_eq!(found("80:8080", "80:8081"), ["gateway does not listen at 8081"]);
    }

    #[test]
    fn files_and_names_of_other_files_exist() {
        let found = |from, to| after(files, from, to);
        let expected = ["collector: deploy/compose/config.yaml does not exist"];
        assert_eq!(found("./collector.yaml", "./config.yaml"), expected);
        assert_eq!(found("SHARE", "PART"), ["collector: its configuration has no PART"]);
        assert_eq!(
            found("=order-placed", "=orders"),
            ["topics: the shop's topic needs `--topic=order-placed`"]
        );
    }

    #[test]
    fn alternatives_are_expanded() {
        assert_eq!(expand("A_{B,C}_{,D}"), ["A_B_", "A_B_D", "A_C_", "A_C_D"]);
    }
}
