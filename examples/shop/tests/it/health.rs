//! The listener of the probes: it responds before a service is ready, and while it stops.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A service whose probes can be asked, and the address of these.
async fn start(binary: &str, variable: (&str, String)) -> (Child, SocketAddr) {
    let probes = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let child = Command::new(binary)
        .env(variable.0, variable.1)
        .env("SHOP_HEALTH", probes.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    (child, probes)
}

/// Asks until the listener exists.
async fn status(probes: SocketAddr, path: &str) -> (u16, String) {
    let responds = async {
        loop {
            if let Ok(response) = reqwest::get(format!("http://{probes}{path}")).await {
                return (response.status().as_u16(), response.text().await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, responds).await.unwrap()
}

#[tokio::test]
async fn a_service_is_alive_before_it_is_ready() {
    // A database that accepts connections and never answers.
    let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://shop@{}/shop", database.local_addr().unwrap());
    let (_payment, probes) = start(env!("CARGO_BIN_EXE_shop-payment"), ("SHOP_LEDGER", url)).await;
    assert_eq!(status(probes, "/livez").await.0, 200);
    let (code, report) = status(probes, "/readyz").await;
    assert_eq!(code, 503);
    assert!(report.contains("\"started\":{\"status\":\"down\",\"reason\":\"starting\"}"), "{report}");
}

#[tokio::test]
async fn a_service_is_not_ready_while_it_stops() {
    let listen = ("SHOP_LISTEN", "127.0.0.1:0".to_owned());
    let (mut catalogue, probes) = start(env!("CARGO_BIN_EXE_shop-catalogue"), listen).await;
    let mut lines = BufReader::new(catalogue.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let address = line.strip_prefix("catalogue is ready at ").unwrap();
    assert_eq!(status(probes, "/readyz").await.0, 200);

    // A connection on which nothing is sent keeps the server from ending at once.
    let _idle = tokio::net::TcpStream::connect(address).await.unwrap();
    let id = catalogue.id().unwrap().to_string();
    assert!(Command::new("kill").arg(id).status().await.unwrap().success());
    let stops = async {
        while status(probes, "/readyz").await.0 != 503 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, stops).await.unwrap();
    assert_eq!(status(probes, "/livez").await.0, 200);
    assert!(catalogue.try_wait().unwrap().is_none());
    // The connection does not keep it for longer than the grace.
    assert_eq!(timeout(PATIENCE, catalogue.wait()).await.unwrap().unwrap().code(), Some(1));
}
