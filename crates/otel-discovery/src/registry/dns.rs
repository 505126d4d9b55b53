//! The registry in DNS: SRV records, or addresses with a port, looked up again when their time to live is over.
//!
//! Follows [RFC 2782](https://www.rfc-editor.org/rfc/rfc2782) for SRV records: the targets of the lowest priority, by weight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, future, stream};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;

use crate::endpoint::{Endpoint, InvalidEndpoint};
use crate::error::RegistryError;
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::lookup::{self, Names};
use crate::registry::{Registry, RegistryAnswer, Update, Updates};

const NAME: &str = "dns";
/// The place of the service's name in a template.
const PLACE: &str = "{service}";

/// A registry in DNS. It looks SRV records up, unless [`with_addresses`](Self::with_addresses) gives a port.
///
/// Each look-up is a span. The next one is due when the shortest time to live of the answer is over.
#[derive(Clone)]
pub struct DnsRegistry(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    resolver: TokioResolver,
    template: String,
    port: Option<u16>,
    min_ttl: Duration,
    max_ttl: Duration,
    instrumentation: DiscoveryInstrumentation,
}

/// Endpoints, and the time up to which they are valid.
type Looked = (RegistryAnswer, Instant);

impl DnsRegistry {
    /// Creates a registry with a resolver. One without a cache of its own is best, because a look-up in a cache is a span as
    /// well.
    #[must_use]
    pub fn new(resolver: TokioResolver) -> Self {
        Self(Arc::new(Inner {
            resolver,
            template: PLACE.to_owned(),
            port: None,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            instrumentation: DiscoveryInstrumentation::global().clone(),
        }))
    }

    /// Creates a registry with the resolver that the system is configured for, on Unix by `/etc/resolv.conf`, without a cache.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn from_system() -> Result<Self, RegistryError> {
        let resolver = || {
            let mut builder = TokioResolver::builder_tokio()?;
            builder.options_mut().cache_size = 0;
            builder.build()
        };
        let error = |error| RegistryError::new(NAME, "configure", "", "configuration", error);
        Ok(Self::new(resolver().map_err(|failed: NetError| error(failed))?))
    }

    /// Looks up A and AAAA records, and gives each address this port.
    #[must_use]
    pub fn with_addresses(mut self, port: u16) -> Self {
        Arc::make_mut(&mut self.0).port = Some(port);
        self
    }

    /// Sets the name that is looked up, such as `_{service}._tcp.example.com.`. Default: the name of the service alone.
    #[must_use]
    pub fn with_template(mut self, template: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).template = template.into();
        self
    }

    /// Sets the bounds of the time between two look-ups; an answer without records is looked up again after the first.
    /// Default: 1 s, 5 min.
    #[must_use]
    pub fn with_ttl(mut self, min: Duration, max: Duration) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        (inner.min_ttl, inner.max_ttl) = (min, max.max(min));
        self
    }

    /// Uses this instrumentation instead of the global one.
    #[must_use]
    pub fn with_instrumentation(mut self, instrumentation: &DiscoveryInstrumentation) -> Self {
        Arc::make_mut(&mut self.0).instrumentation = instrumentation.clone();
        self
    }
}

impl Inner {
    async fn look_up(&self, operation: &'static str, service: &str) -> Result<Looked, RegistryError> {
        let name = self.template.replace(PLACE, service);
        let request = async {
            let looked = match self.port {
                Some(port) => self.addresses(&name, port, 1).await,
                None => self.services(&name).await,
            };
            match looked {
                Ok((endpoints, valid_until)) => Ok((RegistryAnswer::collect(endpoints), valid_until)),
                Err(error) if error.is_no_records_found() => Ok((RegistryAnswer::default(), Instant::now())),
                Err(error) => {
                    let error_type = if matches!(error, NetError::Timeout) { "timeout" } else { "dns" };
                    Err(RegistryError::new(NAME, operation, service, error_type, error))
                }
            }
        };
        let names = Names { registry: NAME, operation, service };
        lookup::record(&self.instrumentation, names, Vec::new(), request).await
    }

    /// Looks up the targets of the lowest priority, and their addresses.
    async fn services(&self, name: &str) -> Result<(Vec<Found>, Instant), NetError> {
        let records = self.resolver.srv_lookup(name).await?;
        let targets = records.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service),
            _ => None,
        });
        let targets: Vec<_> = targets.collect();
        let priority = targets.iter().map(|target| target.priority).min();
        let lookups =
            targets.into_iter().filter(|target| Some(target.priority) == priority).map(async |target| {
                // The target `.` is no host: the service is decidedly not available.
                if target.target.is_root() {
                    return Ok((Vec::new(), records.valid_until()));
                }
                let host = target.target.to_ascii();
                match self.addresses(&host, target.port, target.weight).await {
                    Err(error) if error.is_no_records_found() => {
                        Ok((vec![Err(InvalidEndpoint::new("target without address"))], records.valid_until()))
                    }
                    looked => looked,
                }
            });
        let looked = future::try_join_all(lookups).await?;
        let mut valid_until = records.valid_until();
        let mut all = Vec::new();
        for (endpoints, until) in looked {
            valid_until = valid_until.min(until);
            all.extend(endpoints);
        }
        Ok((all, valid_until))
    }

    async fn addresses(&self, host: &str, port: u16, weight: u16) -> Result<(Vec<Found>, Instant), NetError> {
        let addresses = self.resolver.lookup_ip(host).await?;
        let endpoint = |ip: std::net::IpAddr| {
            Endpoint::new(&ip.to_string(), port).map(|endpoint| endpoint.with_weight(weight))
        };
        Ok((addresses.iter().map(endpoint).collect(), addresses.valid_until()))
    }
}

type Found = Result<Endpoint, InvalidEndpoint>;

impl Registry for DnsRegistry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        let (inner, service) = (Arc::clone(&self.0), service.to_owned());
        Box::pin(async move { Ok(inner.look_up("resolve", &service).await?.0) })
    }

    fn watch(&self, service: &str) -> Updates {
        let state = (Arc::clone(&self.0), service.to_owned(), None);
        let updates = stream::unfold(state, |(inner, service, valid_until)| async move {
            if let Some(valid_until) = valid_until {
                let ttl = Instant::saturating_duration_since(&valid_until, Instant::now());
                tokio::time::sleep(ttl.clamp(inner.min_ttl, inner.max_ttl)).await;
            }
            let looked = inner.look_up("watch", &service).await;
            let valid_until =
                looked.as_ref().map_or_else(|_| Instant::now(), |(_, valid_until)| *valid_until);
            let update = looked.map(|(answer, _)| Update::Complete(answer));
            Some((update, (inner, service, Some(valid_until))))
        });
        updates.boxed()
    }
}

impl std::fmt::Debug for DnsRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsRegistry").field("template", &self.0.template).finish_non_exhaustive()
    }
}
