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

/// Each alert has a test of `promtool test rules` in which it fires, and one in which it does not.
pub(in crate::tidy) fn tested(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER) && is_yaml(file)) {
        let tests = file.path.replace(".yaml", ".test.yaml");
        let tests: Vec<_> = tree.file(&tests).into_iter().flat_map(documents).collect();
        // The name and the number of alerts of each expectation.
        let mut expected = Vec::new();
        for document in &tests {
            each(document, &mut |_, value| {
                if let (Some(name), Some(alerts)) =
                    (value["alertname"].as_str(), value["exp_alerts"].as_vec())
                {
                    expected.push((name, alerts.len()));
                }
            });
        }
        for document in documents(file) {
            each(&document, &mut |key, value| {
                let ("alert", Some(alert)) = (key, value.as_str()) else { return };
                for (case, fires) in [("fires", true), ("does not fire", false)] {
                    if !expected.iter().any(|(name, count)| *name == alert && (*count > 0) == fires) {
                        let message = format!("no test in which {alert} {case}");
                        findings.push(Finding::new(&*file.path, line_of(file, alert), message));
                    }
                }
            });
        }
    }
    findings
}

/// The expressions of a dashboard in JSON.
pub(crate) fn dashboard_expressions(text: &str) -> Vec<String> {
    let mut expressions = Vec::new();
    collect(&serde_json::from_str(text).unwrap_or_default(), &mut expressions);
    expressions
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
        return dashboard_expressions(&file.text);
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
    use super::{known, tested};
    use crate::tidy::tree::tree;

    #[test]
    fn an_alert_has_a_test_of_each_case() {
        let rules = "groups:\n- rules:\n  - alert: Down\n    expr: up == 0\n";
        let read = |tests: &str| {
            let findings =
                tested(&tree(&[("deploy/alerts.yaml", rules), ("deploy/alerts.test.yaml", tests)]));
            findings.into_iter().map(|one| one.message).collect::<Vec<_>>()
        };
        let fires = "- alert_rule_test: [{alertname: Down, exp_alerts: [{exp_labels: {}}]}]\n";
        let quiet = "- alert_rule_test: [{alertname: Down, exp_alerts: []}]\n";
        assert_eq!(read(&format!("tests:\n{fires}{quiet}")), [""; 0]);
        assert_eq!(read(&format!("tests:\n{fires}")), ["no test in which Down does not fire"]);
        assert_eq!(read(&format!("tests:\n{quiet}")), ["no test in which Down fires"]);
        assert_eq!(read("tests: []\n").len(), 2);
    }

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
