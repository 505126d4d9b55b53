//! A private NATS server with JetStream.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use crate::Server;

/// The timeout of a server's start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server without data and with this limit of a message in bytes, and waits until it answers. Returns it with its address.
///
/// # Errors
/// The program is not set or cannot be run, or the server does not answer in time.
pub async fn start_nats(name: &str, max_payload: usize) -> Result<(Server, String), Box<dyn Error>> {
    let [port] = crate::free_ports()?;
    let server = Server::start(("NATS_SERVER", "nats"), name, |folder| {
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: {max_payload}\njetstream {{ store_dir: \"{}\" }}\n",
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
