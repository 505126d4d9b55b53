//! etcd: the shared server, a server of the test's own, and a proxy whose connections a test cuts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use otel_discovery::EtcdRegistry;
use otel_testing::{Recorder, service};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::support::instrumentation;

const START: &str = "start the server: `cargo xtask services up etcd`";

pub(crate) fn setting(name: &str) -> String {
    service::setting(name, START)
}

/// A registry at this address, which has time to respond on a busy machine.
pub(crate) fn registry(recorder: &Recorder, address: &str) -> EtcdRegistry {
    let registry = EtcdRegistry::new([address]).unwrap().with_timeout(Duration::from_secs(20));
    registry.with_instrumentation(&instrumentation(recorder))
}

/// Posts JSON to the [HTTP gateway](https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/) of a server, and returns the answer.
pub(crate) async fn post(url: &str, path: &str, body: Value) -> Value {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("{url}/v3/{path}")).body(body.to_string()).unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(status.is_success(), "{path}: {status} {text:?}");
    serde_json::from_slice(&text).unwrap()
}

pub(crate) async fn put(url: &str, key: impl AsRef<[u8]>, value: &str) -> u64 {
    let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
    revision(&post(url, "kv/put", body).await)
}

pub(crate) async fn delete(url: &str, key: &str) -> u64 {
    revision(&post(url, "kv/deleterange", json!({ "key": STANDARD.encode(key) })).await)
}

fn revision(answer: &Value) -> u64 {
    answer["header"]["revision"].as_str().unwrap().parse().unwrap()
}

/// A server, which is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    ports: [u16; 2],
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(service::unique_name("etcd"));
        std::fs::create_dir(&folder).unwrap();
        let held = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = held.map(|one| one.local_addr().unwrap().port());
        let server = Self { child: launch(&folder, ports), folder, ports };
        server.ready().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = launch(&self.folder, self.ports);
        self.ready().await;
    }

    pub(crate) fn remove_data(&self) {
        std::fs::remove_dir_all(self.folder.join("data")).unwrap();
    }

    /// Connects until the server answers, for which no event exists.
    async fn ready(&self) {
        let wait = async {
            let client: Client<_, String> = Client::builder(TokioExecutor::new()).build_http();
            let is_healthy = async || {
                let health = client.get(format!("{}/health", self.url()).parse().unwrap()).await;
                health.is_ok_and(|response| response.status().is_success())
            };
            while !is_healthy().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }
}

fn launch(folder: &PathBuf, ports: [u16; 2]) -> Child {
    let [client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    Command::new(setting("ETCD_SERVER"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--data-dir", "data"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A proxy in front of a server.
pub(crate) struct Proxy {
    target: SocketAddr,
    address: SocketAddr,
    task: AbortHandle,
}

impl Proxy {
    pub(crate) async fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { target, address, task: forward(listener, target) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the connections, and accepts no others.
    pub(crate) fn cut(&self) {
        self.task.abort();
    }

    pub(crate) async fn restore(&mut self) {
        let listener = loop {
            // The task that was aborted has the old one for a moment longer.
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.task = forward(listener, self.target);
    }
}

fn forward(listener: TcpListener, target: SocketAddr) -> AbortHandle {
    let task = async move {
        // Dropped with this task, which ends its connections.
        let mut connections = JoinSet::new();
        loop {
            let (mut inbound, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut outbound = TcpStream::connect(target).await.unwrap();
                // An error is the end of the connection.
                let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
            });
        }
    };
    tokio::spawn(task).abort_handle()
}
