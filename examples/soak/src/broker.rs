//! A private Kafka broker that can be killed and restarted.

use std::error::Error;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic};
use rdkafka::client::DefaultClientContext;

/// The variable with the path of a program that runs a broker.
const SERVER: &str = "KAFKA_SERVER";

/// The timeout of a broker's start.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running broker. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct Broker {
    program: String,
    folder: PathBuf,
    ports: [u16; 2],
    process: Child,
}

impl Broker {
    /// Starts an empty broker and creates topics on it.
    ///
    /// # Errors
    /// The program is not set or cannot be run, or the broker does not create the topics in time.
    pub async fn start(topics: &[NewTopic<'_>]) -> Result<Self, Box<dyn Error>> {
        let program = crate::setting(SERVER, "kafka")?;
        let folder = std::env::temp_dir().join(format!("soak-kafka-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = [free()?, free()?];
        let [port, controller] =
            listeners.each_ref().map(|listener| listener.local_addr().map(|at| at.port()));
        let ports = [port?, controller?];
        drop(listeners);
        let process = run(&program, &folder, ports).inspect_err(|_| {
            // The error of the start is returned, not that of the clean-up.
            let _ = fs::remove_dir_all(&folder);
        })?;
        let broker = Self { program, folder, ports, process };
        broker.create(topics).await?;
        Ok(broker)
    }

    /// Returns the address of the broker.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Kills the broker and restarts it with its data.
    ///
    /// # Errors
    /// The process cannot be killed or started.
    pub fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = run(&self.program, &self.folder, self.ports)?;
        Ok(())
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
                return Err(
                    format!("the broker did not start (log in {}): {error}", self.folder.display()).into()
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Errors are ignored: the process may have exited, and the folder is in the system's temporary folder.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(program: &str, folder: &PathBuf, [port, controller]: [u16; 2]) -> Result<Child, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(program);
    command.arg(folder).args([port, controller].map(|port| port.to_string()));
    // The broker stops at the end of its input, so it does not outlive this process.
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    command.spawn().map_err(|error| format!("cannot run {program}: {error}").into())
}
