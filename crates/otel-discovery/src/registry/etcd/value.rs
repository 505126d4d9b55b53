//! The value of a registration: JSON with the address, the metadata, the weight and the health.
//!
//! Follows [etcd's gRPC naming](https://etcd.io/docs/v3.4/dev-guide/grpc_naming/): `Op`, `Addr` and `Metadata` are those of its
//! Go package, which ignores the others. So each reads what the other has registered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::endpoint::{Endpoint, Health, InvalidEndpoint};

/// Limit in bytes of a value: 64 entries of metadata fit in.
const LONGEST_VALUE: usize = 64 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Written<'a> {
    /// An addition by the Go package.
    op: u8,
    addr: &'a str,
    metadata: &'a BTreeMap<String, String>,
    weight: u16,
    healthy: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Read {
    addr: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default = "yes")]
    healthy: bool,
}

fn one() -> u16 {
    1
}

fn yes() -> bool {
    true
}

/// Writes the value of an endpoint with this health.
pub(super) fn write(endpoint: &Endpoint, health: Health) -> Vec<u8> {
    let value = Written {
        op: 0,
        addr: endpoint.authority().as_str(),
        metadata: endpoint.metadata(),
        weight: endpoint.weight(),
        healthy: health == Health::Healthy,
    };
    // Fails for maps whose keys are no strings, and there is none.
    serde_json::to_vec(&value).unwrap_or_default()
}

/// Parses the value of an endpoint with this id.
pub(super) fn parse(id: &str, value: &[u8]) -> Result<Endpoint, InvalidEndpoint> {
    if value.len() > LONGEST_VALUE {
        return Err(InvalidEndpoint::new("a value that is too long"));
    }
    let Read { addr, metadata, weight, healthy } =
        serde_json::from_slice(value).map_err(|_| InvalidEndpoint::new("value"))?;
    let health = if healthy { Health::Healthy } else { Health::Unhealthy };
    let endpoint = Endpoint::parse(&addr)?.with_id(id)?.with_weight(weight).with_health(health);
    // Programs in Go register metadata of any type.
    let entries = metadata.as_object().into_iter().flatten();
    let texts = entries.filter_map(|(key, value)| Some((key, value.as_str()?)));
    texts.into_iter().try_fold(endpoint, |endpoint, (key, value)| endpoint.with_metadata(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let endpoint = Endpoint::parse("10.0.0.1:80").unwrap().with_id("a").unwrap();
        let endpoint = endpoint.with_weight(3).with_metadata("zone", "eu-1").unwrap();
        let value = write(&endpoint, Health::Healthy);
        let text = r#"{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"zone":"eu-1"},"Weight":3,"Healthy":true}"#;
        assert_eq!(String::from_utf8(value.clone()).unwrap(), text);
        assert_eq!(parse("a", &value).unwrap(), endpoint);
        let unhealthy = parse("a", &write(&endpoint, Health::Unhealthy)).unwrap();
        assert_eq!(unhealthy.health(), Health::Unhealthy);
    }

    #[test]
    fn values_of_gos_package_are_read() {
        for metadata in ["null", "7", r#"{"a":1}"#, r#"["x"]"#] {
            let value = format!(r#"{{"Op":0,"Addr":"a.example:80","Metadata":{metadata}}}"#);
            let endpoint = parse("1", value.as_bytes()).unwrap();
            assert_eq!((endpoint.host(), endpoint.weight()), ("a.example", 1));
            assert!(endpoint.metadata().is_empty() && endpoint.health() == Health::Healthy);
        }
    }

    #[test]
    fn values_that_are_no_endpoint_are_errors() {
        let long = format!(r#"{{"Addr":"a:80","X":"{}"}}"#, "x".repeat(LONGEST_VALUE));
        let nested = "[".repeat(1_000);
        let full = (0..65).map(|key| format!(r#""{key}":"""#)).collect::<Vec<_>>().join(",");
        let full = format!(r#"{{"Addr":"a:80","Metadata":{{{full}}}}}"#);
        for value in [
            "",
            "a:80",
            "{}",
            r#"{"Addr":"a"}"#,
            r#"{"Addr":"a b:80"}"#,
            r#"{"Addr":"a:80","Weight":70000}"#,
            &long,
            &nested,
            &full,
        ] {
            assert!(parse("1", value.as_bytes()).is_err(), "{}", &value[..value.len().min(40)]);
        }
        assert!(parse("", br#"{"Addr":"a:80"}"#).is_err());
        assert!(parse("1", &[0xff, 0xfe]).is_err());
    }
}
