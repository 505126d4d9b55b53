//! Rules for the files that a crate must have.

use crate::tidy::{
    tiers::{Sides, sides},
    tree::{Finding, Tree},
};

/// Every crate has a README and a changelog.
pub(super) fn papers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.crates {
        for name in ["README.md", "CHANGELOG.md"] {
            let path = format!("{}/{name}", package.folder);
            if tree.file(&path).is_none() {
                findings.push(Finding::new(path, 1, "missing; every crate has this file"));
            }
        }
    }
    findings
}

/// Every transport has the same modules and test files, so that a contributor finds the same structure in each.
pub(super) fn transports(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.crates {
        let Some(sides) = sides(&package.name) else { continue };
        let of_sides: &[&str] = match sides {
            Sides::ClientServer => &["client", "server", "layer", "service", "instrumentation"],
            Sides::ProducerConsumer => &["producer", "consumer"],
        };
        let src = ["lib", "config", "carrier", "attributes", "outcome", "metrics"];
        let tests =
            ["main", "propagation", "spans", "metrics", "cancellation", "conformance", "tracing_spans"];
        let modules = src
            .iter()
            .chain(of_sides)
            .map(|name| format!("src/{name}"))
            .chain(tests.map(|name| format!("tests/it/{name}")))
            .chain(["benches/overhead".to_owned()]);
        for module in modules {
            let path = format!("{}/{module}", package.folder);
            if !tree.has_module(&path) {
                let message = "missing; every transport has this file, see ARCHITECTURE.md";
                findings.push(Finding::new(format!("{path}.rs"), 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{papers, transports};
    use crate::tidy::tree::{Crate, Tree, tree};

    fn with_crate(name: &str, files: &[&str]) -> Tree {
        let folder = format!("crates/{name}");
        let files: Vec<_> = files.iter().map(|file| format!("{folder}/{file}")).collect();
        let files: Vec<_> = files.iter().map(|file| (file.as_str(), "")).collect();
        let crates = vec![Crate { name: name.to_owned(), folder, ..Crate::default() }];
        Tree { crates, ..tree(&files) }
    }

    #[test]
    fn a_missing_readme_or_changelog_is_reported() {
        assert_eq!(papers(&with_crate("otel-operation", &["README.md", "CHANGELOG.md"])), []);
        let findings = papers(&with_crate("otel-operation", &["README.md"]));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "crates/otel-operation/CHANGELOG.md");
        assert_eq!(papers(&with_crate("otel-operation", &["CHANGELOG.md"])).len(), 1);
    }

    const COMMON: [&str; 14] = [
        "src/lib.rs",
        "src/config.rs",
        "src/carrier.rs",
        "src/attributes/mod.rs",
        "src/outcome.rs",
        "src/metrics.rs",
        "tests/it/main.rs",
        "tests/it/propagation.rs",
        "tests/it/spans.rs",
        "tests/it/metrics.rs",
        "tests/it/cancellation/mod.rs",
        "tests/it/conformance.rs",
        "tests/it/tracing_spans.rs",
        "benches/overhead.rs",
    ];

    const CLIENT_AND_SERVER: [&str; 5] =
        ["src/client.rs", "src/server.rs", "src/layer.rs", "src/service.rs", "src/instrumentation.rs"];

    #[test]
    fn a_transport_has_its_shape() {
        let http = [&COMMON[..], &CLIENT_AND_SERVER, &["src/forwarded.rs"]].concat();
        assert_eq!(transports(&with_crate("otel-http", &http)), []);
        let kafka = [&COMMON[..], &["src/producer.rs", "src/consumer.rs"]].concat();
        assert_eq!(transports(&with_crate("otel-kafka", &kafka)), []);
        assert_eq!(
            transports(&with_crate("otel-http", &kafka)).len(),
            CLIENT_AND_SERVER.len(),
            "the files of a client and a server are missing"
        );
    }

    #[test]
    fn each_missing_file_is_reported() {
        let all = [&COMMON[..], &CLIENT_AND_SERVER].concat();
        for missing in &all {
            let rest: Vec<_> = all.iter().copied().filter(|file| file != missing).collect();
            let findings = transports(&with_crate("otel-grpc", &rest));
            let path = format!("crates/otel-grpc/{}", missing.replace("/mod.rs", ".rs"));
            assert_eq!(findings.len(), 1, "{missing}");
            assert_eq!(findings[0].path, path);
        }
    }

    #[test]
    fn other_crates_may_have_any_shape() {
        assert_eq!(transports(&with_crate("otel-propagation", &[])), []);
        assert_eq!(transports(&with_crate("otel-saga", &[])), []);
    }
}
