//! The resource: attributes from detectors, from code and from the environment, in order of increasing precedence.
//!
//! Follows the [Resource SDK](https://opentelemetry.io/docs/specs/otel/resource/sdk/) and the
//! [semantic conventions for resources](https://opentelemetry.io/docs/specs/semconv/resource/).

mod detect;

use std::path::Path;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use crate::env::Env;

/// A source of resource attributes. All are enabled by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detector {
    /// `service.instance.id`: a random UUID for each set-up. Disable it if the platform provides a better one.
    ServiceInstance,
    /// `host.name`, `host.id`, `host.arch`.
    Host,
    /// `os.type`, `os.name`, `os.version`, `os.description`.
    Os,
    /// `process.pid`, `process.executable.name`, `process.executable.path`; never the command line, which may contain
    /// secrets.
    Process,
    /// `container.id`, from the cgroup or mount table of the process.
    Container,
    /// `k8s.*` from variables of the downward API, only inside a cluster.
    Kubernetes,
    /// `telemetry.sdk.*`.
    Sdk,
}

impl Detector {
    const ALL: [Self; 7] = [
        Self::ServiceInstance,
        Self::Host,
        Self::Os,
        Self::Process,
        Self::Container,
        Self::Kubernetes,
        Self::Sdk,
    ];

    fn detect(self, env: &mut Env) -> Vec<KeyValue> {
        match self {
            Self::ServiceInstance => vec![KeyValue::new("service.instance.id", random_uuid())],
            Self::Host => detect::host(Path::new("/")),
            Self::Os => detect::os(Path::new("/")),
            Self::Process => detect::process(),
            Self::Container => detect::container(Path::new("/")),
            Self::Kubernetes => detect::kubernetes(Path::new("/"), env),
            Self::Sdk => vec![
                KeyValue::new("telemetry.sdk.name", "opentelemetry"),
                KeyValue::new("telemetry.sdk.language", "rust"),
                KeyValue::new("telemetry.sdk.version", detect::SDK_VERSION),
            ],
        }
    }
}

/// The resource options set in code.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceOptions {
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) without: Vec<Detector>,
}

/// Returns the resource after the overrides from the environment.
pub(crate) fn resolve(options: &ResourceOptions, env: &mut Env) -> Resource {
    let mut attributes = vec![KeyValue::new("service.name", unknown_service())];
    for detector in Detector::ALL {
        if !options.without.contains(&detector) {
            attributes.extend(detector.detect(env));
        }
    }
    attributes.extend(options.attributes.iter().cloned());
    let from_env = env.attributes("OTEL_RESOURCE_ATTRIBUTES");
    attributes.extend(from_env.into_iter().flatten().map(|(key, value)| KeyValue::new(key, value)));
    if let Some(name) = env.get("OTEL_SERVICE_NAME") {
        attributes.push(KeyValue::new("service.name", name));
    }
    // Of several attributes with the same key, the last one wins.
    Resource::builder_empty().with_attributes(attributes).build()
}

fn unknown_service() -> String {
    std::env::current_exe().ok().as_deref().and_then(Path::file_name).map_or_else(
        || "unknown_service".into(),
        |name| format!("unknown_service:{}", name.to_string_lossy()),
    )
}

/// Returns a version 4 UUID from the generator of trace ids.
fn random_uuid() -> String {
    let random = u128::from_be_bytes(RandomIdGenerator::default().new_trace_id().to_bytes());
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests;
