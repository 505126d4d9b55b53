//! The registry in Consul: four requests of its HTTP interface.
//!
//! Follows [Consul's HTTP API](https://developer.hashicorp.com/consul/api-docs), with [blocking
//! queries](https://developer.hashicorp.com/consul/api-docs/features/blocking) for changes and TTL checks for leases.

mod agent;
mod health;

use std::fmt;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use reqwest::{Client, Url};

use crate::Health;
use crate::error::RegistryError;
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::consul::agent::Agent;
use crate::registry::lease::{Lease, LeaseKeeper};
use crate::registry::{Registration, Registry, RegistryAnswer, Update, Updates};

const NAME: &str = "consul";

/// A registry in Consul, by the agent of this machine.
///
/// An instance that is registered has a TTL check: killed, it is critical once its lease is over, and thus no candidate; Consul
/// forgets it a minute later. Blocking queries show changes at once.
#[derive(Clone)]
pub struct ConsulRegistry {
    agent: Agent,
    wait: Duration,
}

impl ConsulRegistry {
    /// Creates a registry of the agent at this URL, such as `http://127.0.0.1:8500`.
    ///
    /// # Errors
    /// If it is not an HTTP URL.
    pub fn new(url: &str) -> Result<Self, RegistryError> {
        let error = |reason: &str| RegistryError::new(NAME, "configure", "", "configuration", reason);
        let url = Url::parse(url).map_err(|failed| error(&failed.to_string()))?;
        if url.cannot_be_a_base() || url.host_str().is_none() {
            return Err(error("the address is no HTTP URL"));
        }
        Ok(Self { agent: Agent::new(url), wait: Duration::from_secs(60) })
    }

    /// Creates a registry by Consul's [environment
    /// variables](https://developer.hashicorp.com/consul/commands#environment-variables): `CONSUL_HTTP_ADDR`
    /// (default: `127.0.0.1:8500`), `CONSUL_HTTP_SSL`, `CONSUL_HTTP_TOKEN`, `CONSUL_NAMESPACE`.
    ///
    /// # Errors
    /// If the address is not valid, or `CONSUL_HTTP_SSL` is no truth value of Go.
    pub fn from_env() -> Result<Self, RegistryError> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RegistryError> {
        let address = variable("CONSUL_HTTP_ADDR").unwrap_or_else(|| "127.0.0.1:8500".to_owned());
        // As Consul's own clients read it, by `strconv.ParseBool` of Go.
        let is_ssl = match variable("CONSUL_HTTP_SSL").as_deref() {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some(_) => {
                let reason = "CONSUL_HTTP_SSL is neither true nor false";
                return Err(RegistryError::new(NAME, "configure", "", "configuration", reason));
            }
        };
        let scheme = if is_ssl { "https" } else { "http" };
        let url = if address.contains("://") { address } else { format!("{scheme}://{address}") };
        let mut registry = Self::new(&url)?;
        registry.agent.token = variable("CONSUL_HTTP_TOKEN").map(Into::into);
        registry.agent.namespace = variable("CONSUL_NAMESPACE").map(Into::into);
        Ok(registry)
    }

    /// Sends this token with each request.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.agent.token = Some(token.into());
        self
    }

    /// Uses this client of reqwest, for instance one with TLS, which the default one has not.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.agent.client = client;
        self
    }

    /// Sets the longest time of a blocking query. A query without changes is a span of this length. Default: 60 s.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait.max(Duration::from_millis(1));
        self
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(mut self, instrumentation: &DiscoveryInstrumentation) -> Self {
        self.agent.instrumentation = instrumentation.clone();
        self
    }
}

impl Registry for ConsulRegistry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        let (agent, service) = (self.agent.clone(), service.to_owned());
        Box::pin(async move { Ok(agent.health("resolve", &service, None).await?.0) })
    }

    fn watch(&self, service: &str) -> Updates {
        let state = (self.clone(), service.to_owned(), None);
        let updates = stream::unfold(state, |(registry, service, last)| async move {
            let wait = last.map(|index| (index, registry.wait));
            let result = registry.agent.health("watch", &service, wait).await;
            let next = match (&result, last) {
                (Ok((_, index)), Some(last)) if *index < last => None,
                (Ok((_, index)), _) if *index > 0 => Some(*index),
                _ => None,
            };
            if result.is_ok() && next.is_none() {
                // An index that is absent or went back begins anew, and must not become a loop without a pause.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Some((result.map(|(answer, _)| Update::Complete(answer)), (registry, service, next)))
        });
        updates.boxed()
    }

    fn register(&self, registration: Registration) -> BoxFuture<'static, Result<Lease, RegistryError>> {
        let agent = self.agent.clone();
        Box::pin(async move {
            agent.register(&registration, registration.endpoint.health()).await?;
            let (name, instrumentation) = (NAME, agent.instrumentation.clone());
            let keeper = Keeper { agent, registration: registration.clone() };
            Ok(Lease::keep(name, &registration, &instrumentation, keeper))
        })
    }
}

struct Keeper {
    agent: Agent,
    registration: Registration,
}

impl LeaseKeeper for Keeper {
    fn renew(&self, health: Health) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(async move {
            if self.agent.update_check(&self.registration, health).await? {
                return Ok(());
            }
            // The agent was restarted without its state.
            self.agent.register(&self.registration, health).await
        })
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(self.agent.deregister(&self.registration))
    }
}

impl fmt::Debug for ConsulRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token.
        f.debug_struct("ConsulRegistry").field("url", &self.agent.url()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_address_and_token() {
        let registry = |variables: &[(&str, &str)]| {
            let find = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            ConsulRegistry::from_variables(find)
        };
        let url = |variables: &[(&str, &str)]| registry(variables).unwrap().agent.url();
        assert_eq!(url(&[]), "http://127.0.0.1:8500/");
        assert_eq!(
            url(&[("CONSUL_HTTP_ADDR", "consul:1"), ("CONSUL_HTTP_SSL", "true")]),
            "https://consul:1/"
        );
        for (value, expected) in
            [("TRUE", "https://consul:1/"), ("t", "https://consul:1/"), ("0", "http://consul:1/")]
        {
            assert_eq!(url(&[("CONSUL_HTTP_ADDR", "consul:1"), ("CONSUL_HTTP_SSL", value)]), expected);
        }
        assert_eq!(registry(&[("CONSUL_HTTP_SSL", "yes")]).unwrap_err().error_type(), "configuration");
        assert_eq!(url(&[("CONSUL_HTTP_ADDR", "https://consul:1")]), "https://consul:1/");
        let secret = registry(&[("CONSUL_HTTP_TOKEN", "secret")]).unwrap();
        assert_eq!(secret.agent.token.as_deref(), Some("secret"));
        assert!(!format!("{secret:?}").contains("secret"));
        let error = registry(&[("CONSUL_HTTP_ADDR", "unix:///var/run/consul")]).unwrap_err();
        assert_eq!(error.error_type(), "configuration");
    }
}
