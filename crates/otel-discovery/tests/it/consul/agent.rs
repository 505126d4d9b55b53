//! A server with the part of Consul's HTTP interface that the registry uses: blocking queries, TTL checks, tokens.
//!
//! Its answers have the form of those that <https://developer.hashicorp.com/consul/api-docs/health> shows. The same tests run on
//! Consul itself, see `server.rs`.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::server::TOKEN;

#[derive(Default)]
pub(crate) struct Agent {
    pub(crate) index: u64,
    services: BTreeMap<String, Service>,
    /// The methods and paths of the requests, without those of health.
    pub(crate) requests: Vec<String>,
    /// Entries that are added to each answer.
    pub(crate) extra: Vec<Value>,
}

struct Service {
    body: Value,
    status: String,
    expires: Instant,
}

pub(crate) type Shared = Arc<Mutex<Agent>>;

/// Starts a server without any state.
pub(crate) async fn start(address: SocketAddr) -> (Shared, SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let agent = Shared::new(Mutex::new(Agent { index: 1, ..Agent::default() }));
    let app = Router::new()
        .route("/v1/agent/service/register", put(register))
        .route("/v1/agent/service/deregister/{id}", put(deregister))
        .route("/v1/agent/check/update/{id}", put(update))
        .route("/v1/health/service/{name}", get(health))
        .with_state(Arc::clone(&agent));
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (agent, address, task)
}

fn is_allowed(headers: &HeaderMap) -> bool {
    headers.get("x-consul-token").is_some_and(|token| token == TOKEN)
}

async fn register(State(agent): State<Shared>, headers: HeaderMap, body: String) -> StatusCode {
    if !is_allowed(&headers) {
        return StatusCode::FORBIDDEN;
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut agent = agent.lock().unwrap();
    agent.requests.push("register".to_owned());
    agent.index += 1;
    let status = body["Check"]["Status"].as_str().unwrap().to_owned();
    let expires = Instant::now() + ttl(&body);
    let id = body["ID"].as_str().unwrap().to_owned();
    agent.services.insert(id, Service { body, status, expires });
    StatusCode::OK
}

fn ttl(body: &Value) -> Duration {
    let ttl = body["Check"]["TTL"].as_str().unwrap().strip_suffix("ms").unwrap();
    Duration::from_millis(ttl.parse().unwrap())
}

async fn deregister(State(agent): State<Shared>, Path(id): Path<String>) -> StatusCode {
    let mut agent = agent.lock().unwrap();
    agent.requests.push(format!("deregister {id}"));
    agent.index += 1;
    if agent.services.remove(&id).is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

async fn update(State(agent): State<Shared>, Path(id): Path<String>, body: String) -> StatusCode {
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut agent = agent.lock().unwrap();
    agent.requests.push(format!("update {id}"));
    let Some(service) = agent.services.get_mut(id.strip_prefix("service:").unwrap()) else {
        return StatusCode::NOT_FOUND;
    };
    let status = body["Status"].as_str().unwrap().to_owned();
    service.expires = Instant::now() + ttl(&service.body);
    if std::mem::replace(&mut service.status, status.clone()) != status {
        agent.index += 1;
    }
    StatusCode::OK
}

async fn health(
    State(agent): State<Shared>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if !is_allowed(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let index: u64 = query.get("index").map_or(0, |index| index.parse().unwrap());
    let wait = query.get("wait").map_or(0, |wait| wait.strip_suffix("ms").unwrap().parse().unwrap());
    let end = Instant::now() + Duration::from_millis(wait);
    loop {
        let (at, answer) = answer(&mut agent.lock().unwrap(), &name);
        // An index of the future is one of a server before: the answer comes at once.
        if at != index || Instant::now() >= end {
            return ([("x-consul-index", at.to_string())], answer.to_string()).into_response();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn answer(agent: &mut Agent, name: &str) -> (u64, Value) {
    let mut expired = 0;
    for service in agent.services.values_mut().filter(|one| one.expires < Instant::now()) {
        expired += u64::from(std::mem::replace(&mut service.status, "critical".to_owned()) != "critical");
    }
    agent.index += expired;
    let services = agent.services.values().filter(|service| service.body["Name"] == name);
    let entries = services.map(|Service { body, status, .. }| {
        json!({
            "Node": { "ID": "40e4a748", "Node": "n1", "Address": "10.1.10.12", "Datacenter": "dc1" },
            "Service": {
                "ID": body["ID"], "Service": name, "Tags": [], "Address": body["Address"], "Meta": body["Meta"],
                "Port": body["Port"], "Weights": body["Weights"], "Namespace": "default"
            },
            "Checks": [
                { "Node": "n1", "CheckID": "serfHealth", "Status": "passing", "ServiceID": "" },
                { "Node": "n1", "CheckID": body["Check"]["CheckID"], "Status": status, "ServiceID": body["ID"] }
            ]
        })
    });
    (agent.index, entries.chain(agent.extra.iter().cloned()).collect())
}
