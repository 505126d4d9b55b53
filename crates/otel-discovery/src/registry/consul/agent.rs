//! The requests to an agent, each in a span but the renewal of a lease.
//!
//! Follows [Consul's Agent HTTP API](https://developer.hashicorp.com/consul/api-docs/agent), services and checks.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::json;

use super::{NAME, health};
use crate::attributes::{SERVER_ADDRESS, SERVER_PORT};
use crate::endpoint::Health;
use crate::error::{BoxError, RegistryError};
use crate::instrumentation::DiscoveryInstrumentation;
use crate::registry::lookup::{self, Names};
use crate::registry::{Registration, RegistryAnswer};

/// Limit in bytes of an answer.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Limit of the time of a request, to which the wait of a blocking query is added.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which Consul forgets an instance without a lease; it has no shorter one.
const FORGOTTEN_AFTER: &str = "1m";

#[derive(Clone)]
pub(super) struct Agent {
    url: Arc<Url>,
    pub(super) client: Client,
    pub(super) token: Option<Arc<str>>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) instrumentation: DiscoveryInstrumentation,
}

impl Agent {
    pub(super) fn new(url: Url) -> Self {
        let instrumentation = DiscoveryInstrumentation::global().clone();
        Self { url: Arc::new(url), client: Client::new(), token: None, namespace: None, instrumentation }
    }

    /// Returns the URL without credentials.
    pub(super) fn url(&self) -> String {
        let mut url = Url::clone(&self.url);
        // Fails for URLs without a host, which have none.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.into()
    }

    /// Asks for the instances of a service: the answer and its index. With an index and a time it waits for a change.
    pub(super) async fn health(
        &self,
        operation: &'static str,
        service: &str,
        wait: Option<(u64, Duration)>,
    ) -> Result<(RegistryAnswer, u64), RegistryError> {
        let error =
            |error_type, source: BoxError| RegistryError::new(NAME, operation, service, error_type, source);
        let (mut query, mut limit) = (Vec::new(), TIMEOUT);
        if let Some((index, time)) = wait {
            query = vec![("index", index.to_string()), ("wait", format!("{}ms", time.as_millis()))];
            // Consul adds up to a sixteenth, so that not all queries end at once.
            limit += time + time / 16;
        }
        let request = self.request(Method::GET, &["health", "service", service], &query).timeout(limit);
        let request = async {
            let mut response = self.send(operation, service, request).await?;
            let index =
                response.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
            let mut text = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|failed| error("body", failed.into()))? {
                if text.len() + chunk.len() > LONGEST_ANSWER {
                    return Err(error("malformed", "the answer is too long".into()));
                }
                text.extend_from_slice(&chunk);
            }
            let answer = health::parse(&text).map_err(|failed| error("malformed", failed.into()))?;
            Ok((answer, index.unwrap_or(0)))
        };
        lookup::record(&self.instrumentation, names(operation, service), self.server(), request).await
    }

    pub(super) async fn register(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<(), RegistryError> {
        let endpoint = &registration.endpoint;
        let body = json!({
            "ID": endpoint.id(),
            "Name": registration.service,
            "Address": endpoint.host(),
            "Port": endpoint.port(),
            "Meta": endpoint.metadata(),
            "Weights": { "Passing": endpoint.weight(), "Warning": 1 },
            "Check": {
                "CheckID": check_id(registration),
                "Name": "lease",
                "TTL": format!("{}ms", registration.lease.as_millis()),
                "Status": status(health),
                "DeregisterCriticalServiceAfter": FORGOTTEN_AFTER,
            },
        });
        let query = [("replace-existing-checks", "true".to_owned())];
        let request =
            self.request(Method::PUT, &["agent", "service", "register"], &query).body(body.to_string());
        let sent = self.change("register", &registration.service, request);
        let names = names("register", &registration.service);
        lookup::record(&self.instrumentation, names, self.server(), sent).await
    }

    pub(super) async fn deregister(&self, registration: &Registration) -> Result<(), RegistryError> {
        let id = registration.endpoint.id();
        let request = self.request(Method::PUT, &["agent", "service", "deregister", id], &[]);
        let sent = self.change("deregister", &registration.service, request);
        let names = names("deregister", &registration.service);
        lookup::record(&self.instrumentation, names, self.server(), sent).await
    }

    /// Renews the lease; returns false if the agent does not know the check. It is no span, for it comes every few seconds.
    pub(super) async fn update_check(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<bool, RegistryError> {
        let request = self.request(Method::PUT, &["agent", "check", "update", &check_id(registration)], &[]);
        let request = request.body(json!({ "Status": status(health) }).to_string());
        match self.change("renew", &registration.service, request).await {
            Ok(()) => Ok(true),
            Err(error) if error.error_type() == "not_found" => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn change(
        &self,
        operation: &'static str,
        service: &str,
        request: RequestBuilder,
    ) -> Result<(), RegistryError> {
        self.send(operation, service, request).await.map(drop)
    }

    async fn send(
        &self,
        operation: &'static str,
        service: &str,
        request: RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let error =
            |error_type, source: BoxError| RegistryError::new(NAME, operation, service, error_type, source);
        let response = request.send().await.map_err(|failed| {
            let error_type = match &failed {
                failed if failed.is_timeout() => "timeout",
                failed if failed.is_connect() => "connect",
                _ => "request",
            };
            // Its URL can have credentials.
            error(error_type, failed.without_url().into())
        })?;
        let error_type = match response.status() {
            status if status.is_success() => return Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "permission_denied",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::TOO_MANY_REQUESTS => "rate_limited",
            status if status.is_server_error() => "server_error",
            _ => "rejected",
        };
        Err(error(error_type, format!("the agent responded {}", response.status()).into()))
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = Url::clone(&self.url);
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each is escaped.
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        let mut request = self.client.request(method, url).timeout(TIMEOUT);
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", &**token);
        }
        request
    }

    fn server(&self) -> Vec<KeyValue> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = i64::from(self.url.port_or_known_default().unwrap_or_default());
        vec![KeyValue::new(SERVER_ADDRESS, host), KeyValue::new(SERVER_PORT, port)]
    }
}

fn names<'a>(operation: &'static str, service: &'a str) -> Names<'a> {
    Names { registry: NAME, operation, service }
}

fn check_id(registration: &Registration) -> String {
    format!("service:{}", registration.endpoint.id())
}

fn status(health: Health) -> &'static str {
    match health {
        Health::Healthy => "passing",
        Health::Unhealthy => "critical",
    }
}
