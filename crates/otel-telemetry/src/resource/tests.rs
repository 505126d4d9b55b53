//! Tests of the detectors with temporary files and fixed variables, and of precedence.

use std::fs;
use std::path::PathBuf;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A root directory that is removed when it is dropped.
struct Root(PathBuf);

impl Root {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("otel-telemetry-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // A root without files was never created.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn rendered(attributes: &[KeyValue]) -> Vec<String> {
    let mut lines: Vec<_> = attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn container_ids_of_the_known_runtimes() {
    for cgroup in [
        format!("12:cpu:/docker/{ID}\n"),
        format!("1:name=systemd:/kubepods/besteffort/pod1/{ID}\n"),
        format!("0::/system.slice/docker-{ID}.scope\n"),
        format!("0::/kubepods.slice/cri-containerd:{ID}\n"),
    ] {
        assert_eq!(detect::id_in_cgroup(&cgroup).as_deref(), Some(ID), "{cgroup}");
    }
    for cgroup in ["0::/\n", "", "0::/user.slice/session-1.scope"] {
        assert_eq!(detect::id_in_cgroup(cgroup), None, "{cgroup}");
    }
    for source in [
        format!("/var/lib/docker/containers/{ID}/hostname"),
        format!("/containers/overlay-containers/{ID}/userdata/hostname"),
    ] {
        let mounts =
            format!("1 2 0:1 / / rw - overlay x rw\n3 4 8:1 {source} /etc/hostname rw - ext4 x rw\n");
        assert_eq!(detect::id_in_mounts(&mounts).as_deref(), Some(ID), "{source}");
    }
    assert_eq!(detect::id_in_mounts("1 2 3 /etc/hostname /etc/hostname rw"), None);
}

#[test]
fn host_and_os_come_from_their_files() {
    let root = Root::with(
        "host",
        &[
            ("proc/sys/kernel/hostname", "box\n"),
            ("etc/machine-id", "abc\n"),
            ("etc/os-release", "NAME=\"Some OS\"\nVERSION_ID='12'\nOTHER=x\n"),
        ],
    );
    let host = rendered(&detect::host(&root.0));
    assert_eq!(host[1..], ["host.id=abc", "host.name=box"]);
    let os = rendered(&detect::os(&root.0));
    assert_eq!(os[0], "os.name=Some OS");
    assert_eq!(os[2], "os.version=12");
    let nothing = Root::with("nothing", &[]);
    assert_eq!(detect::host(&nothing.0).len(), 1, "the architecture alone");
}

#[test]
fn kubernetes_only_inside_a_cluster() {
    let namespace = "var/run/secrets/kubernetes.io/serviceaccount/namespace";
    let root = Root::with("k8s", &[(namespace, "shop\n")]);
    let variables = [("POD_NAME", "orders-1"), ("NODE_NAME", "node-a")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut outside = Env::fixed(variables.clone().into_iter().collect());
    assert!(detect::kubernetes(&root.0, &mut outside).is_empty());
    let cluster = ("KUBERNETES_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned());
    let mut inside = Env::fixed(variables.into_iter().chain([cluster]).collect());
    assert_eq!(
        rendered(&detect::kubernetes(&root.0, &mut inside)),
        ["k8s.namespace.name=shop", "k8s.node.name=node-a", "k8s.pod.name=orders-1"]
    );
}

#[test]
fn an_instance_id_is_a_random_uuid_of_version_4() {
    let (one, other) = (random_uuid(), random_uuid());
    assert_ne!(one, other);
    assert_eq!(one.len(), 36);
    assert_eq!(one.as_bytes()[14], b'4');
    assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
}

#[test]
fn precedence() {
    let options = ResourceOptions {
        attributes: vec![KeyValue::new("service.name", "code"), KeyValue::new("a", "code")],
        without: Vec::new(),
    };
    let value = |resource: &Resource, key: &'static str| {
        let value = resource.get(&opentelemetry::Key::from_static_str(key));
        value.map(|value| value.to_string())
    };
    let resource = resolve(&options, &mut Env::fixed(Default::default()));
    assert_eq!(value(&resource, "service.name").as_deref(), Some("code"));
    let variables =
        [("OTEL_RESOURCE_ATTRIBUTES", "a=env,service.name=attributes"), ("OTEL_SERVICE_NAME", "name")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let resource = resolve(&options, &mut Env::fixed(variables.into_iter().collect()));
    assert_eq!(value(&resource, "service.name").as_deref(), Some("name"));
    assert_eq!(value(&resource, "a").as_deref(), Some("env"));
    let resource = resolve(&ResourceOptions::default(), &mut Env::fixed(Default::default()));
    assert!(value(&resource, "service.name").unwrap().starts_with("unknown_service:"));
}
