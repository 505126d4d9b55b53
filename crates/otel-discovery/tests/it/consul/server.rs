//! The agent of a test: Consul itself if `CONSUL_SERVER` is the path of its program, and otherwise a server of its protocol.
//!
//! Consul is built from Go modules, for minutes, so that `cargo xtask ci --full` alone sets the variable.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use otel_discovery::ConsulRegistry;
use otel_testing::{Recorder, service};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::agent::{self, Shared};
use crate::support::instrumentation;

pub(crate) const TOKEN: &str = "7d3f0e4c-8d0c-4a0a-9b43-0c5f0a1d2e3f";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    kind: Kind,
}

enum Kind {
    Protocol { agent: Shared, task: JoinHandle<()> },
    Consul(Consul),
}

/// A process of Consul, which is killed when this is dropped.
struct Consul {
    child: Child,
    folder: PathBuf,
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap()).await
    }

    /// Starts an agent without any state.
    pub(crate) async fn start(address: SocketAddr) -> Self {
        match std::env::var("CONSUL_SERVER") {
            Ok(program) => Consul::start(&program, address).await,
            Err(_) => Self::protocol(address).await,
        }
    }

    /// Starts the server of the protocol.
    pub(crate) async fn protocol(address: SocketAddr) -> Self {
        let (agent, address, task) = agent::start(address).await;
        Self { address, kind: Kind::Protocol { agent, task } }
    }

    pub(crate) async fn stop(self) -> SocketAddr {
        match self.kind {
            Kind::Protocol { task, .. } => {
                task.abort();
                let _ = task.await;
            }
            Kind::Consul(consul) => drop(consul),
        }
        self.address
    }

    /// Returns the state of the server of the protocol.
    pub(crate) fn agent(&self) -> Option<&Shared> {
        match &self.kind {
            Kind::Protocol { agent, .. } => Some(agent),
            Kind::Consul(_) => None,
        }
    }

    /// Adds entries to the service `stock` that an agent would refuse, by node, id, address and port. Returns their number.
    pub(crate) async fn add_entries(&self, entries: &[(&str, &str, u64)]) -> usize {
        let node = "10.1.10.12";
        if let Some(agent) = self.agent() {
            agent.lock().unwrap().extra.extend(entries.iter().map(|(id, address, port)| {
                let service = json!({ "ID": id, "Address": address, "Port": port });
                json!({ "Node": { "Address": node }, "Service": service })
            }));
            return entries.len();
        }
        let mut added = 0;
        for (at, (id, address, port)) in entries.iter().enumerate() {
            let service = json!({ "ID": id, "Service": "stock", "Address": address, "Port": port });
            let body = json!({ "Node": format!("other-{at}"), "Address": node, "Service": service });
            added += usize::from(put(self.address, "catalog/register", &body).await);
        }
        added
    }

    pub(crate) fn registry(&self, recorder: &Recorder) -> ConsulRegistry {
        ConsulRegistry::new(&format!("http://{}", self.address))
            .unwrap()
            .with_client(client())
            .with_token(TOKEN)
            .with_wait(Duration::from_secs(2))
            .with_instrumentation(&instrumentation(recorder))
    }
}

/// A connection a request: one of a server that was stopped would stay open.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap()
}

/// Returns true if the agent has done it.
async fn put(address: SocketAddr, path: &str, body: &Value) -> bool {
    let request = client().put(format!("http://{address}/v1/{path}")).header("x-consul-token", TOKEN);
    request.body(body.to_string()).send().await.is_ok_and(|response| response.status().is_success())
}

impl Consul {
    async fn start(program: &str, address: SocketAddr) -> Server {
        let folder = std::env::temp_dir().join(service::unique_name("consul"));
        std::fs::create_dir(&folder).unwrap();
        let held = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, gossip, raft] = held.map(|one| one.local_addr().unwrap().port());
        let http = if address.port() == 0 { http } else { address.port() };
        let child = launch(program, &folder, [http, gossip, raft]);
        let address = SocketAddr::from(([127, 0, 0, 1], http));
        let server = Server { address, kind: Kind::Consul(Self { child, folder }) };
        let ready = async {
            // It has a leader, and knows the token.
            while !put(address, "kv/ready", &json!(true)).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.unwrap();
        server
    }
}

fn launch(program: &str, folder: &Path, ports: [u16; 3]) -> Child {
    let acl = format!(
        "acl {{ enabled = true default_policy = \"deny\" \
         tokens {{ initial_management = \"{TOKEN}\" agent = \"{TOKEN}\" }} }}"
    );
    let [http, gossip, raft] = ports.map(|port| port.to_string());
    Command::new(program)
        .args(["agent", "-dev", "-node", "n1", "-bind", "127.0.0.1", "-client", "127.0.0.1"])
        .args(["-http-port", &http, "-serf-lan-port", &gossip, "-server-port", &raft])
        .args(["-dns-port", "-1", "-grpc-port", "-1", "-grpc-tls-port", "-1", "-serf-wan-port", "-1"])
        .args(["-hcl", &acl, "-data-dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Consul {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
