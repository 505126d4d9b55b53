//! The registry in etcd: keys with leases, which are watched from a revision.
//!
//! Follows [etcd's gRPC naming](https://etcd.io/docs/v3.4/dev-guide/grpc_naming/): an instance is the key `SERVICE/ID`.

mod client;
mod messages;
mod value;
mod watch;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use http::Uri;
use tonic::transport::{Channel, Endpoint as Address};

use crate::Health;
use crate::error::{BoxError, RegistryError};
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::etcd::client::Client;
use crate::registry::etcd::messages::{
    Empty, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseRequest, PutRequest,
    RangeRequest, RangeResponse,
};
use crate::registry::etcd::watch::Known;
use crate::registry::lease::{Lease, LeaseKeeper};
use crate::registry::lookup::{self, Names, Response};
use crate::registry::{Registration, Registry, RegistryAnswer, Updates};

const NAME: &str = "etcd";
/// Limit of etcd in seconds, which refuses a longer lease.
const LONGEST_LEASE: i64 = 9_000_000_000;

/// A registry in etcd, version 3.4 or later.
///
/// An instance is a key with a lease, so that one that is killed disappears with its lease; etcd has none under 2 s. A watch reads
/// the keys of its service once, and continues from the revision of that read, also after an outage; if etcd has compacted the revision
/// meanwhile, it reads them again. The keys of a service begin with its name and a slash, which the names of others must not.
#[derive(Clone)]
pub struct EtcdRegistry {
    client: Client,
    prefix: Arc<str>,
    instrumentation: DiscoveryInstrumentation,
    /// The endpoints of watches that broke, by service.
    interrupted: Arc<Mutex<HashMap<String, Known>>>,
}

impl EtcdRegistry {
    /// Creates a registry of the members at these addresses, such as `http://127.0.0.1:2379`. The one that has answered last is
    /// asked first.
    ///
    /// # Errors
    /// If there is none, or one is no URL with the scheme `http`; [`from_channels`](Self::from_channels) takes channels with TLS.
    pub fn new<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, RegistryError> {
        let addresses = addresses.into_iter().map(|address| parse(address.as_ref()));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(invalid("no address"));
        }
        Ok(Self::with(Client::at(addresses)))
    }

    /// Creates a registry of the members behind these channels, for instance with TLS. The pings of a channel find out that a peer
    /// has gone: without them a watch can wait for good.
    #[must_use]
    pub fn from_channels(channels: impl IntoIterator<Item = Channel>) -> Self {
        Self::with(Client::over(channels.into_iter().collect()))
    }

    /// Creates a registry by the [environment variables of
    /// etcdctl](https://github.com/etcd-io/etcd/tree/v3.4.23/etcdctl#readme): `ETCDCTL_ENDPOINTS` (default: `127.0.0.1:2379`),
    /// `ETCDCTL_USER` (`name` or `name:password`), `ETCDCTL_PASSWORD`.
    ///
    /// # Errors
    /// If an address is not valid.
    pub fn from_env() -> Result<Self, RegistryError> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RegistryError> {
        let addresses = variable("ETCDCTL_ENDPOINTS").unwrap_or_else(|| "127.0.0.1:2379".to_owned());
        let registry = Self::new(addresses.split(',').map(str::trim))?;
        let Some(user) = variable("ETCDCTL_USER") else { return Ok(registry) };
        let password = variable("ETCDCTL_PASSWORD");
        let (name, password) = match (user.split_once(':'), &password) {
            (_, Some(password)) => (&*user, &**password),
            (Some(pair), None) => pair,
            (None, None) => (&*user, ""),
        };
        Ok(registry.with_credentials(name, password))
    }

    fn with(client: Client) -> Self {
        let instrumentation = DiscoveryInstrumentation::global().clone();
        Self { client, prefix: "".into(), instrumentation, interrupted: Arc::default() }
    }

    /// Sends the token of this user with each request.
    #[must_use]
    pub fn with_credentials(mut self, name: &str, password: &str) -> Self {
        self.client = self.client.with_credentials(name, password);
        self
    }

    /// Sets a text with which all keys begin, such as `services/`. Default: none.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self.interrupted = Arc::default();
        self
    }

    /// Sets the time for which a member has to respond before the next one is asked. Default: 5 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.client = self.client.with_timeout(timeout);
        self
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(mut self, instrumentation: &DiscoveryInstrumentation) -> Self {
        self.instrumentation = instrumentation.clone();
        self
    }

    /// Returns the first key of a service, and the first one after its keys.
    fn range(&self, service: &str) -> (Vec<u8>, Vec<u8>) {
        let key = format!("{}{service}", self.prefix);
        // `0` follows the slash.
        (format!("{key}/").into_bytes(), format!("{key}0").into_bytes())
    }

    /// Reads the endpoints of a service, and counts the keys that are none.
    async fn read(&self, operation: &'static str, service: &str) -> Result<(Known, u64), RegistryError> {
        let (key, range_end) = self.range(service);
        let skipped = key.len();
        let request = RangeRequest { key, range_end };
        let response: RangeResponse =
            self.client.unary((operation, service), "/etcdserverpb.KV/Range", request).await?;
        Ok(Known::read(response, skipped))
    }

    async fn grant(
        &self,
        operation: &'static str,
        registration: &Registration,
    ) -> Result<i64, RegistryError> {
        let purpose = (operation, registration.service());
        // Whole seconds, and not fewer than were asked for.
        let seconds =
            registration.lease.as_secs().saturating_add(u64::from(registration.lease.subsec_nanos() > 0));
        let ttl = i64::try_from(seconds).unwrap_or(LONGEST_LEASE).min(LONGEST_LEASE);
        let request = LeaseGrantRequest { ttl };
        let response: LeaseGrantResponse =
            self.client.unary(purpose, "/etcdserverpb.Lease/LeaseGrant", request).await?;
        Ok(response.id)
    }

    async fn put(
        &self,
        operation: &'static str,
        registration: &Registration,
        health: Health,
        lease: i64,
    ) -> Result<(), RegistryError> {
        let (mut key, _) = self.range(registration.service());
        key.extend_from_slice(registration.endpoint.id().as_bytes());
        let request = PutRequest { key, value: value::write(&registration.endpoint, health), lease };
        let purpose = (operation, registration.service());
        let _: Empty = self.client.unary(purpose, "/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }
}

fn parse(address: &str) -> Result<Address, RegistryError> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    // Read here, because tonic takes the path of a socket of Unix with some of its features and refuses it with others.
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| invalid(error))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(Address::from(uri)),
        (Some("https"), Some(_)) => Err(invalid("an address with TLS needs a channel of `from_channels`")),
        _ => Err(invalid("the address is no HTTP URL")),
    }
}

fn invalid(source: impl Into<BoxError>) -> RegistryError {
    RegistryError::new(NAME, "configure", "", "configuration", source)
}

fn names<'a>(operation: &'static str, service: &'a str) -> Names<'a> {
    Names { registry: NAME, operation, service }
}

impl Registry for EtcdRegistry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        let (registry, service) = (self.clone(), service.to_owned());
        Box::pin(async move {
            let request = async {
                let (known, rejected) = registry.read("resolve", &service).await?;
                Ok(known.answer(rejected))
            };
            let server = registry.client.server();
            lookup::record(&registry.instrumentation, names("resolve", &service), server, request).await
        })
    }

    fn watch(&self, service: &str) -> Updates {
        watch::updates(self.clone(), service.to_owned())
    }

    fn register(&self, registration: Registration) -> BoxFuture<'static, Result<Lease, RegistryError>> {
        let registry = self.clone();
        Box::pin(async move {
            let health = registration.endpoint.health();
            let request = async {
                let id = registry.grant("register", &registration).await?;
                registry.put("register", &registration, health, id).await?;
                Ok(Held { id, health: Some(health) })
            };
            let names = names("register", registration.service());
            let server = registry.client.server();
            let held = lookup::record(&registry.instrumentation, names, server, request).await?;
            let instrumentation = registry.instrumentation.clone();
            let held = tokio::sync::Mutex::new(held);
            let keeper = Keeper { registry: registry.clone(), registration: registration.clone(), held };
            Ok(Lease::keep(NAME, &registration, &instrumentation, keeper))
        })
    }
}

struct Keeper {
    registry: EtcdRegistry,
    registration: Registration,
    held: tokio::sync::Mutex<Held>,
}

struct Held {
    /// The id of the lease, from when it is granted, so that a deregistration ends it at any time.
    id: i64,
    /// The health in the value of the key; `None` if the key is not written.
    health: Option<Health>,
}

impl Response for Held {
    fn endpoints(&self) -> Option<usize> {
        None
    }
}

impl LeaseKeeper for Keeper {
    fn renew(&self, health: Health) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(async move {
            let mut held = self.held.lock().await;
            let purpose = ("renew", self.registration.service());
            let request = LeaseRequest { id: held.id };
            let path = "/etcdserverpb.Lease/LeaseKeepAlive";
            let (response, _): (LeaseKeepAliveResponse, _) =
                self.registry.client.stream(purpose, path, request, false).await?;
            if response.ttl <= 0 {
                // It was over before it was renewed, or etcd was restored without it.
                held.health = None;
                held.id = self.registry.grant("renew", &self.registration).await?;
            }
            if held.health != Some(health) {
                self.registry.put("renew", &self.registration, health, held.id).await?;
                held.health = Some(health);
            }
            Ok(())
        })
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(async move {
            let service = self.registration.service();
            let request = LeaseRequest { id: self.held.lock().await.id };
            let request = async {
                let path = "/etcdserverpb.Lease/LeaseRevoke";
                match self.registry.client.unary(("deregister", service), path, request).await {
                    Ok(Empty {}) => Ok(()),
                    // It is over already, and its key with it.
                    Err(error) if error.error_type() == "not_found" => Ok(()),
                    Err(error) => Err(error),
                }
            };
            let (instrumentation, server) = (&self.registry.instrumentation, self.registry.client.server());
            lookup::record(instrumentation, names("deregister", service), server, request).await
        })
    }
}

impl fmt::Debug for EtcdRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("EtcdRegistry").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_addresses_and_user() {
        let registry = |variables: &[(&str, &str)]| {
            let find = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            EtcdRegistry::from_variables(find)
        };
        let client = |variables: &[(&str, &str)]| registry(variables).unwrap().client;
        assert_eq!(client(&[]).addresses(), ["http://127.0.0.1:2379/"]);
        let two = client(&[("ETCDCTL_ENDPOINTS", "a:1, http://b:2")]);
        assert_eq!(two.addresses(), ["http://a:1/", "http://b:2/"]);
        assert!(two.server().is_empty() && two.credentials().is_none());
        let user = |user| [("ETCDCTL_USER", user), ("ETCDCTL_PASSWORD", "x:y")];
        assert_eq!(client(&user("u")).credentials(), Some(("u", "x:y")));
        assert_eq!(client(&user("u")[..1]).credentials(), Some(("u", "")));
        assert_eq!(client(&user("u:p:q")[..1]).credentials(), Some(("u", "p:q")));
        assert!(!format!("{:?}", registry(&user("u:secret")[..1]).unwrap()).contains("secret"));
        for address in ["https://etcd:1", "unix:///var/run/etcd", "http://", "a b"] {
            let error = registry(&[("ETCDCTL_ENDPOINTS", address)]).unwrap_err();
            assert_eq!(error.error_type(), "configuration", "{address}");
        }
        assert!(EtcdRegistry::new([""; 0]).is_err());
    }

    #[test]
    fn the_keys_of_a_service_are_a_range() {
        let registry = EtcdRegistry::new(["a:1"]).unwrap().with_prefix("services/");
        assert_eq!(registry.range("stock"), (b"services/stock/".to_vec(), b"services/stock0".to_vec()));
    }
}
