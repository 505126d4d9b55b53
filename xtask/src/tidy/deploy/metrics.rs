//! Dashboards and alerts name only what is emitted.

use serde_json::Value;

use crate::tidy::{
    deploy::{FOLDER, documents, each, emitted::Emitted, is_yaml, line_of, promql},
    tree::{File, Finding, Tree},
};

/// Every metric and label in an expression is emitted by our crates, by the Collector or by Prometheus.
pub(in crate::tidy) fn known(tree: &Tree) -> Vec<Finding> {
    let emitted = Emitted::read(tree);
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        for expression in expressions(file) {
            let names = promql::names(&expression);
            let metrics = names.metrics.iter().filter(|name| !emitted.has_metric(name));
            let labels = names.labels.iter().filter(|name| !emitted.has_label(name));
            let unknown = metrics.map(|name| ("metric", name)).chain(labels.map(|name| ("label", name)));
            findings.extend(unknown.map(|(what, name)| {
                Finding::new(&*file.path, line_of(file, name), format!("no crate emits the {what} `{name}`"))
            }));
        }
    }
    findings.dedup();
    findings
}

/// The expressions of a dashboard or of a file of rules.
fn expressions(file: &File) -> Vec<String> {
    let mut expressions = Vec::new();
    if is_yaml(file) {
        for document in documents(file) {
            each(&document, &mut |key, value| {
                if let ("expr", Some(expression)) = (key, value.as_str()) {
                    expressions.push(expression.to_owned());
                }
            });
        }
    } else if file.path.ends_with(".json") {
        collect(&serde_json::from_str(&file.text).unwrap_or_default(), &mut expressions);
    }
    expressions
}

/// Collects the values of all keys `expr`.
fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, expressions)),
        Value::Object(entries) => {
            expressions.extend(entries.get("expr").and_then(Value::as_str).map(str::to_owned));
            entries.values().for_each(|value| collect(value, expressions));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::known;
    use crate::tidy::tree::tree;

    #[test]
    fn a_metric_that_nobody_emits_is_found() {
        let read = |path: &str, text: &str| {
            let conventions =
                "| `saga.name` | attribute | | Its name. |\n| `saga.retries` | counter | `{retry}` | No. |\n";
            let findings = known(&tree(&[("docs/conventions.md", conventions), (path, text)]));
            findings.into_iter().map(|one| (one.line, one.message)).collect::<Vec<_>>()
        };
        let rules = |expression: &str| format!("groups:\n- rules:\n  - expr: {expression}\n");
        assert_eq!(read("deploy/rules.yaml", &rules("sum by (saga_name) (saga_retries_total) > 0")), []);
        let expected = [(3, "no crate emits the metric `saga_retries`".to_owned())];
        assert_eq!(read("deploy/rules.yaml", &rules("saga_retries > 0")), expected);
        let expected = [(3, "no crate emits the label `saga`".to_owned())];
        assert_eq!(read("deploy/rules.yaml", &rules("sum by (saga) (saga_retries_total)")), expected);
        let dashboard = r#"{"panels": [{"targets": [{"expr": "rate(saga_tries_total[5m])"}]}]}"#;
        let expected = [(1, "no crate emits the metric `saga_tries_total`".to_owned())];
        assert_eq!(read("deploy/dashboard.json", dashboard), expected);
    }
}
