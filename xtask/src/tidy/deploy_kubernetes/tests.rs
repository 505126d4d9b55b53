//! Each rule on the manifests of this repository, with one mistake at a time.

use std::sync::LazyLock;

use super::manifests;
use crate::{
    repo::Repo,
    tidy::tree::{File, Tree},
};

static REPOSITORY: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let tree = Tree::read(&Repo::open().unwrap()).unwrap();
    let parts = ["deploy/", "examples/shop/src/", "crates/otel-telemetry/src/"];
    let files = tree.files.into_iter().filter(|file| parts.iter().any(|part| file.path.starts_with(part)));
    files.map(|file| (file.path, file.text)).collect()
});

/// The messages after `from` has been replaced by `to` in the file.
fn after(path: &str, from: &str, to: &str) -> Vec<String> {
    let mut is_changed = false;
    let files = REPOSITORY.iter().map(|(name, text)| {
        let mut text = text.clone();
        if name == path {
            is_changed = text.contains(from);
            text = text.replacen(from, to, 1);
        }
        File { path: name.clone(), text }
    });
    let tree = Tree { files: files.collect(), ..Tree::default() };
    assert!(is_changed, "{path} has no {from:?}");
    manifests(&tree).into_iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
}

fn base(file: &str) -> String {
    format!("deploy/kubernetes/base/{file}")
}

#[test]
fn the_manifests_agree() {
    assert_eq!(after(&base("gateway.yaml"), "gateway", "gateway"), [""; 0]);
}

#[test]
fn a_mistake_in_a_manifest_is_found() {
    for (file, from, to, message) in [
        ("stock.yaml", "replicas: 1", "replicas: [1", "invalid indentation"),
        ("stock.yaml", "kind: Deployment", "sort: Deployment", "a document without `apiVersion` or `kind`"),
        ("kustomization.yaml", "- stock.yaml\n", "", "no kustomization lists this file"),
        ("kustomization.yaml", "- stock.yaml", "- shelf.yaml", "base/shelf.yaml does not exist"),
        ("workload.yaml", "image: shop", "image: shop:latest", "the image `shop:latest` has no exact tag"),
        ("workload.yaml", "image: shop", "image: shops", "the image `shops` has no exact tag"),
        ("stock.yaml", "shop-stock]", "shop-shelf]", "`shop-shelf` is not a program"),
        ("workload.yaml", "path: /livez", "path: /healthz", "the livenessProbe asks for `/healthz`"),
        ("workload.yaml", "path: /readyz, port: health", "path: /readyz, port: http", "asks the port `http`"),
        (
            "workload.yaml",
            "containerPort: 8090",
            "containerPort: 8091",
            "SHOP_HEALTH is `0.0.0.0:8090`, whose port",
        ),
        ("gateway.yaml", "0.0.0.0:8080", "0.0.0.0:8081", "SHOP_LISTEN is `0.0.0.0:8081`, whose port"),
        (
            "workload.yaml",
            "name: K8S_POD_NAME\n",
            "name: POD_TITLE\n",
            "refers to K8S_POD_NAME, which is not set before",
        ),
        ("workload.yaml", "name: K8S_POD_NAME\n", "name: POD_TITLE\n", "nothing reads POD_TITLE"),
        (
            "orders.yaml",
            "name: SHOP_DATA",
            "name: SHOP_DATUM",
            "`shop-orders` reads SHOP_DATA, which is not set",
        ),
        ("catalogue.yaml", "{name: SHOP_LISTEN,", "{name: SHOP_SLOW,", "`shop-catalogue` needs SHOP_LISTEN"),
        ("shop.env", "NATS_URL=", "NATS=", "`shop-stock` reads NATS_URL, which is not set"),
        ("shop.env", "RUST_LOG=", "RUST_LOGS=", "nothing reads RUST_LOGS"),
        ("shop.env", "catalogue:50051", "catalog:50051", "no Service has the address `http://catalog:50051`"),
        ("shop.env", "orders:8080", "orders:80", "no Service has the address `http://orders:80`"),
        ("shop.env", "payment-1.", "payment-2.", "no Service has the address `payment-2.payment:50051`"),
        (
            "shop.env",
            "DEPLOYMENT_ENVIRONMENT=unknown\n",
            "",
            "no ConfigMap has the key `DEPLOYMENT_ENVIRONMENT`",
        ),
        (
            "workload.yaml",
            "configMapRef: {name: shop}",
            "configMapRef: {name: ship}",
            "`envFrom` names a ConfigMap",
        ),
        (
            "payment.yaml",
            "key: SHOP_LEDGER",
            "key: LEDGER",
            "overlays/production/kustomization.yaml has no Secret `shop`",
        ),
        (
            "payment.yaml",
            "name: shop, key: SHOP_LEDGER",
            "name: till, key: SHOP_LEDGER",
            "overlays/development/kustomization.yaml has no Secret `till`",
        ),
        (
            "payment.yaml",
            "serviceName: payment",
            "serviceName: payments",
            "its Service `payments` does not exist",
        ),
        ("payment.yaml", "targetPort: grpc", "targetPort: http", "no container has the port `http`"),
        (
            "orders.yaml",
            "serviceAccountName: orders",
            "serviceAccountName: order",
            "its service account `order` does not exist",
        ),
        (
            "stock.yaml",
            "labels: {app.kubernetes.io/name: stock}",
            "labels: {app.kubernetes.io/name: shelf}",
            "its pods do not have the labels",
        ),
        (
            "gateway.yaml",
            "  selector: {app.kubernetes.io/name: gateway}",
            "  selector: {app.kubernetes.io/name: door}",
            "no pod has the labels",
        ),
        (
            "gateway.yaml",
            "name: gateway}\n  minReplicas",
            "name: door}\n  minReplicas",
            "it scales `door`, which does not exist",
        ),
        ("gateway.yaml", "  strategy:", "  replicas: 2\n  strategy:", "states replicas"),
        (
            "gateway.yaml",
            "preStop: {sleep: {seconds: 5}}",
            "postStart: {sleep: {seconds: 5}}",
            "a Service and no `preStop`",
        ),
        (
            "stock.yaml",
            "terminationGracePeriodSeconds: 30",
            "terminationGracePeriodSeconds: 21",
            "is too short",
        ),
        ("network.yaml", "ports: [{port: grpc}]", "ports: [{port: rpc}]", "no container has the port `rpc`"),
        ("network.yaml", "name: orders}}\n    ports", "name: order}}\n    ports", "no pod has the labels"),
    ] {
        let messages = after(&base(file), from, to);
        assert!(messages.iter().any(|found| found.contains(message)), "{file}: {from} → {to}: {messages:#?}");
    }
}

#[test]
fn a_mistake_in_the_resources_of_the_operator_is_found() {
    for (file, from, to, message) in [
        (
            "collector.yaml",
            "processors: [memory_limiter, ",
            "processors: [limiter, ",
            "`limiter` of the processors",
        ),
        ("collector.yaml", "      batch: {}\n", "", "`batch` of the processors"),
        (
            "collector.yaml",
            "      batch: {}\n",
            "      batch: {}\n      filter: {}\n",
            "`filter` of the processors",
        ),
        (
            "collector.yaml",
            "serviceAccount: shop-",
            "serviceAccount: ship-",
            "its service account `ship-collector`",
        ),
        (
            "collector.yaml",
            "0.0.0.0:4318",
            "0.0.0.0:4319",
            "OTEL_EXPORTER_OTLP_ENDPOINT of the shop is not its address",
        ),
        (
            "collector.yaml",
            "kind: OpenTelemetryCollector",
            "kind: Collector",
            "there is not one OpenTelemetryCollector",
        ),
        ("instrumentation.yaml", "collector:4318", "collector:4317", "its endpoint is not the Collector's"),
        (
            "instrumentation.yaml",
            "[tracecontext, baggage]",
            "[tracecontext, b3]",
            "its propagators are not those",
        ),
    ] {
        let messages = after(&format!("deploy/kubernetes/operator/{file}"), from, to);
        assert!(messages.iter().any(|found| found.contains(message)), "{file}: {from} → {to}: {messages:#?}");
    }
}

#[test]
fn a_mistake_elsewhere_is_found() {
    for (file, from, to, message) in [
        (
            "deploy/kubernetes/overlays/production/kustomization.yaml",
            "newTag: 0.1.0",
            "newTag: latest",
            "the image `shop` has no exact tag",
        ),
        (
            "deploy/kubernetes/overlays/development/servers.env",
            "SHOP_LEDGER=",
            "LEDGER=",
            "overlays/development/kustomization.yaml has no Secret `shop`",
        ),
        (
            "deploy/kubernetes/README.md",
            "--from-literal=SHOP_LEDGER=",
            "--from-literal=LEDGER=",
            "overlays/production/kustomization.yaml has no Secret `shop`",
        ),
        (
            "deploy/kubernetes/operator/instrumentation.yaml",
            "-java:2.30.0",
            "-java:latest",
            "has no exact tag",
        ),
        (
            "crates/otel-telemetry/src/health/axum.rs",
            ".route(\"/readyz\"",
            ".route(\"/ready\"",
            "the readinessProbe asks for `/readyz`",
        ),
        (
            "examples/shop/src/bin/shop-stock.rs",
            "setting(\"NATS_URL\")",
            "setting(\"NATS_SERVER\")",
            "`shop-stock` reads NATS_SERVER",
        ),
        (
            "examples/shop/src/bin/shop-gateway.rs",
            "service.listen()",
            "service.open()",
            "`shop-gateway` does not read SHOP_LISTEN",
        ),
        ("examples/shop/src/service.rs", "\"SHOP_HEALTH\"", "\"SHOP_PROBES\"", "nothing reads SHOP_HEALTH"),
    ] {
        let messages = after(file, from, to);
        assert!(messages.iter().any(|found| found.contains(message)), "{file}: {from} → {to}: {messages:#?}");
    }
}
