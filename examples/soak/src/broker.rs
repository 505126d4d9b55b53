//! A private Kafka broker that can be killed and restarted.

use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic};
use rdkafka::client::DefaultClientContext;

use crate::server::{Server, free_ports};

/// The timeout of a broker's start.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running broker. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct Broker {
    server: Server,
    port: u16,
}

impl Broker {
    /// Starts an empty broker and creates topics on it.
    ///
    /// # Errors
    /// The program is not set or cannot be run, or the broker does not create the topics in time.
    pub async fn start(topics: &[NewTopic<'_>]) -> Result<Self, Box<dyn Error>> {
        let ports @ [port, _controller] = free_ports()?;
        let server = Server::start(("KAFKA_SERVER", "kafka"), "broker", |folder| {
            let folder = folder.display().to_string();
            Ok([folder].into_iter().chain(ports.map(|port| port.to_string())).collect())
        })?;
        let broker = Self { server, port };
        broker.create(topics).await?;
        Ok(broker)
    }

    /// Returns the address of the broker.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the broker and restarts it with its data.
    ///
    /// # Errors
    /// The process cannot be killed or started.
    pub fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.server.restart()
    }

    async fn create(&self, topics: &[NewTopic<'_>]) -> Result<(), Box<dyn Error>> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.address()).create()?;
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let began = Instant::now();
        loop {
            let error = match admin.create_topics(topics, &options).await {
                Ok(results) => match results.into_iter().find_map(Result::err) {
                    None => return Ok(()),
                    Some((topic, code)) => format!("{topic}: {code}"),
                },
                Err(error) => error.to_string(),
            };
            if began.elapsed() > PATIENCE {
                let log = self.server.log();
                return Err(format!("the broker did not start (log in {}): {error}", log.display()).into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
