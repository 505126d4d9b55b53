//! A private NATS server with JetStream.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use soak::Server;

use crate::plan::MAX_SIZE;

/// The timeout of a server's start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server without data, and waits until it answers. Returns it with its address.
pub(crate) async fn start(name: &str) -> Result<(Server, String), Box<dyn Error>> {
    let [port] = soak::free_ports()?;
    let server = Server::start(("NATS_SERVER", "nats"), name, |folder| {
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: {MAX_SIZE}\njetstream {{ store_dir: \"{}\" }}\n",
            folder.display()
        );
        let path = folder.join("conf");
        fs::write(&path, config)?;
        Ok(vec!["-c".to_owned(), path.display().to_string()])
    })?;
    let address = format!("nats://127.0.0.1:{port}");
    let began = Instant::now();
    while let Err(error) = async_nats::connect(&address).await {
        if began.elapsed() > PATIENCE {
            let log = server.log();
            return Err(format!("the server did not start (log in {}): {error}", log.display()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((server, address))
}
