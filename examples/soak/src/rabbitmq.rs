//! A private RabbitMQ broker.

use std::error::Error;
use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use tokio::time::{sleep, timeout};

use crate::Server;

/// The timeout of a broker's start.
const PATIENCE: Duration = Duration::from_secs(240);

/// The timeout of an attempt to connect. Without one, attempts were seen to stay pending while the broker was starting.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The size limit of a frame in bytes, and so of the headers of a message.
pub const FRAME_MAX: usize = 16_384;

/// Starts a broker without data and with frames of [`FRAME_MAX`], and waits until it answers. Returns it with its address.
///
/// # Errors
/// The program is not set or cannot be run, or the broker does not answer in time.
pub async fn start_rabbitmq(name: &str) -> Result<(Server, String), Box<dyn Error>> {
    let ports @ [port, _distribution, _epmd] = crate::free_ports()?;
    let server = Server::start(("RABBITMQ_SERVER", "rabbitmq"), name, |folder| {
        let folder = folder.join("broker").display().to_string();
        Ok([folder].into_iter().chain(ports.map(|port: u16| port.to_string())).collect())
    })?;
    let address = format!("amqp://guest:guest@127.0.0.1:{port}/%2f?frame_max={FRAME_MAX}");
    let began = Instant::now();
    loop {
        let connecting = Connection::connect(&address, ConnectionProperties::default());
        let error = match timeout(ATTEMPT, connecting).await {
            Ok(Ok(_connection)) => break,
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        if began.elapsed() > PATIENCE {
            let log = server.log();
            return Err(format!("the broker did not start (log in {}): {error}", log.display()).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok((server, address))
}
