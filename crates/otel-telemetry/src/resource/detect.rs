//! The detectors. Each reads files below a root that tests can replace, and omits attributes that it cannot find.

use std::fs;
use std::path::Path;

use opentelemetry::KeyValue;

use crate::env::Env;

/// The version of `opentelemetry_sdk` that this crate is built with; the SDK does not export its version.
pub(super) const SDK_VERSION: &str = "0.33.1";

pub(super) fn host(root: &Path) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new(
        "host.arch",
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "arm" => "arm32",
            "powerpc" => "ppc32",
            "powerpc64" => "ppc64",
            other => other,
        },
    )];
    let name = line(root, "proc/sys/kernel/hostname").or_else(|| line(root, "etc/hostname"));
    attributes.extend(name.map(|name| KeyValue::new("host.name", name)));
    let id = line(root, "etc/machine-id").or_else(|| line(root, "var/lib/dbus/machine-id"));
    attributes.extend(id.map(|id| KeyValue::new("host.id", id)));
    attributes
}

pub(super) fn os(root: &Path) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new(
        "os.type",
        match std::env::consts::OS {
            "macos" => "darwin",
            "dragonfly" => "dragonflybsd",
            other => other,
        },
    )];
    let release = fs::read_to_string(root.join("etc/os-release"))
        .or_else(|_| fs::read_to_string(root.join("usr/lib/os-release")))
        .unwrap_or_default();
    for (variable, key) in
        [("NAME", "os.name"), ("VERSION_ID", "os.version"), ("PRETTY_NAME", "os.description")]
    {
        let value = release
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == variable)
            .map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned());
        attributes.extend(value.map(|value| KeyValue::new(key, value)));
    }
    attributes
}

pub(super) fn process() -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("process.pid", i64::from(std::process::id()))];
    if let Ok(path) = std::env::current_exe() {
        if let Some(name) = path.file_name() {
            let name = name.to_string_lossy().into_owned();
            attributes.push(KeyValue::new("process.executable.name", name));
        }
        let path = path.to_string_lossy().into_owned();
        attributes.push(KeyValue::new("process.executable.path", path));
    }
    attributes
}

pub(super) fn container(root: &Path) -> Vec<KeyValue> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    // In a cgroup v2 namespace the cgroup's path is not visible, but the runtime's bind mounts are.
    id_in_cgroup(&read("proc/self/cgroup"))
        .or_else(|| id_in_mounts(&read("proc/self/mountinfo")))
        .map(|id| KeyValue::new("container.id", id))
        .into_iter()
        .collect()
}

/// Returns the id in the last component of a cgroup's path, without the additions of container runtimes:
/// `docker-ID.scope`, `cri-containerd:ID`.
pub(super) fn id_in_cgroup(cgroup: &str) -> Option<String> {
    cgroup.lines().filter_map(|line| line.rsplit('/').next()).find_map(|last| {
        let last = last.strip_suffix(".scope").unwrap_or(last);
        let last = last.rsplit([':', '-']).next()?;
        is_id(last).then(|| last.to_owned())
    })
}

/// Returns the id in the source of a mount on `hostname` or `resolv.conf`: `/…/containers/ID/…` (Docker) or
/// `/…/overlay-containers/ID/…` (CRI-O).
pub(super) fn id_in_mounts(mounts: &str) -> Option<String> {
    mounts
        .lines()
        .filter(|line| line.contains("/hostname") || line.contains("/resolv.conf"))
        .filter_map(|line| line.split(' ').nth(3))
        .filter(|source| source.contains("/containers/") || source.contains("-containers/"))
        .find_map(|source| source.split('/').find(|part| is_id(part)))
        .map(str::to_owned)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn kubernetes(root: &Path, env: &mut Env) -> Vec<KeyValue> {
    // Kubernetes sets this variable in every container; names like `POD_NAME` can also be set elsewhere.
    if env.get("KUBERNETES_SERVICE_HOST").is_none() {
        return Vec::new();
    }
    let mut attributes = Vec::new();
    for (key, variables) in [
        ("k8s.pod.name", &["K8S_POD_NAME", "POD_NAME", "HOSTNAME"][..]),
        ("k8s.pod.uid", &["K8S_POD_UID", "POD_UID"]),
        ("k8s.pod.ip", &["K8S_POD_IP", "POD_IP"]),
        ("k8s.namespace.name", &["K8S_NAMESPACE_NAME", "K8S_NAMESPACE", "POD_NAMESPACE"]),
        ("k8s.node.name", &["K8S_NODE_NAME", "NODE_NAME"]),
        ("k8s.container.name", &["K8S_CONTAINER_NAME", "CONTAINER_NAME"]),
        ("k8s.deployment.name", &["K8S_DEPLOYMENT_NAME"]),
        ("k8s.cluster.name", &["K8S_CLUSTER_NAME"]),
    ] {
        if let Some((_, value)) = env.first(variables) {
            attributes.push(KeyValue::new(key, value));
        }
    }
    let known = |key: &str| attributes.iter().any(|kv| kv.key.as_str() == key);
    if !known("k8s.namespace.name") {
        let namespace = line(root, "var/run/secrets/kubernetes.io/serviceaccount/namespace");
        attributes.extend(namespace.map(|name| KeyValue::new("k8s.namespace.name", name)));
    }
    attributes
}

/// Returns the first line of a file, trimmed, unless it is blank.
fn line(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(path)).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
