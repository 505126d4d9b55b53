//! An endpoint: one instance of a service. Its values come from a registry, so that all are checked and bounded.
//!
//! Follows the limits of [Consul's service definitions](https://developer.hashicorp.com/consul/docs/reference/service) for
//! metadata.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Scheme};
use otel_request::{format_ip, split_host};

/// Limit in bytes of the id of an instance, and of keys of metadata and of their values.
const LONGEST_ID: usize = 255;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 512;
/// Limit of the metadata of an endpoint.
const MOST_METADATA: usize = 64;

/// The health of an endpoint, as its registry reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Takes calls.
    #[default]
    Healthy,
    /// Takes calls only if no endpoint is healthy.
    Unhealthy,
}

/// An endpoint: one instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    id: Arc<str>,
    authority: Authority,
    /// The text of the host, if that is an IP address.
    ip: Option<Arc<str>>,
    port: u16,
    weight: u16,
    health: Health,
    metadata: BTreeMap<String, String>,
}

/// Values that are no endpoint, such as a host with a space in it, the port 0 or an id that is too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid endpoint: {reason}")]
pub struct InvalidEndpoint {
    reason: &'static str,
}

impl InvalidEndpoint {
    pub(crate) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl Endpoint {
    /// Creates a healthy endpoint of the weight 1, whose id is `host:port`. The host is a name or an IP address, IPv6 without
    /// brackets.
    ///
    /// # Errors
    /// If the host is no host or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidEndpoint> {
        if port == 0 {
            return Err(InvalidEndpoint::new("port 0"));
        }
        let ip = host.parse::<IpAddr>().ok();
        let text = match ip {
            Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        // A second check, because credentials are part of an authority and not of a host.
        let is_host = !host.contains(['@', '[']) && split_host(&text).is_some();
        let authority = Authority::try_from(text).ok().filter(|_| is_host);
        let authority = authority.ok_or(InvalidEndpoint::new("host"))?;
        Ok(Self {
            id: authority.as_str().into(),
            authority,
            ip: ip.map(format_ip),
            port,
            weight: 1,
            health: Health::default(),
            metadata: BTreeMap::new(),
        })
    }

    /// Parses `host:port` or `[v6]:port`.
    ///
    /// # Errors
    /// If the text is something else, or the port is 0.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        match split_host(text) {
            Some((host, Some(port))) if !text.contains('@') => Self::new(host, port),
            _ => Err(InvalidEndpoint::new("not of the form host:port")),
        }
    }

    /// Sets the id, which is unique among the endpoints of a service.
    ///
    /// # Errors
    /// If the id is empty, over 255 bytes long, or has control characters.
    pub fn with_id(mut self, id: &str) -> Result<Self, InvalidEndpoint> {
        if id.is_empty() || id.len() > LONGEST_ID || id.contains(char::is_control) {
            return Err(InvalidEndpoint::new("id"));
        }
        self.id = id.into();
        Ok(self)
    }

    /// Sets the weight for [`Strategy::Weighted`](crate::Strategy::Weighted); 0 becomes 1.
    #[must_use]
    pub fn with_weight(mut self, weight: u16) -> Self {
        self.weight = weight.max(1);
        self
    }

    /// Sets the health.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Adds metadata.
    ///
    /// # Errors
    /// If the key is over 128 bytes long, the value over 512, or the endpoint has 64 entries already.
    pub fn with_metadata(mut self, key: &str, value: &str) -> Result<Self, InvalidEndpoint> {
        let is_full = self.metadata.len() >= MOST_METADATA;
        if is_full || key.len() > LONGEST_KEY || value.len() > LONGEST_VALUE {
            return Err(InvalidEndpoint::new("metadata"));
        }
        self.metadata.insert(key.to_owned(), value.to_owned());
        Ok(self)
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the host: a name or an IP address, IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the URI of the endpoint's root, for instance for `tonic::transport::Endpoint::from`.
    #[must_use]
    pub fn uri(&self, scheme: Scheme) -> Uri {
        let parts = Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query("/");
        // All parts are valid already.
        parts.build().unwrap_or_default()
    }

    /// Returns the weight, at least 1.
    #[must_use]
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// Returns the health.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Returns the metadata.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    pub(crate) fn shared_id(&self) -> &Arc<str> {
        &self.id
    }

    pub(crate) fn ip(&self) -> Option<&Arc<str>> {
        self.ip.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        for (text, host, id) in [
            ("10.0.0.7:80", "10.0.0.7", "10.0.0.7:80"),
            ("[::1]:80", "::1", "[::1]:80"),
            ("a.example:80", "a.example", "a.example:80"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.host(), endpoint.port(), endpoint.id()), (host, 80, id));
            assert_eq!(endpoint.uri(Scheme::HTTP), *format!("http://{id}/"));
        }
        for text in ["", "a", "a:0", "a:x", ":80", "a b:80", "u@a:80", "a/b:80", "a\r\n:80"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
        let endpoint = || Endpoint::new("a.example", 80).unwrap();
        for id in ["", "a\nb", &"x".repeat(256)] {
            assert!(endpoint().with_id(id).is_err(), "{id}");
        }
        let full = (0..64).fold(endpoint(), |one, key| one.with_metadata(&key.to_string(), "").unwrap());
        assert!(full.with_metadata("more", "").is_err());
        assert!(endpoint().with_metadata("key", &"x".repeat(513)).is_err());
        assert_eq!(endpoint().with_weight(0).weight(), 1);
    }
}
