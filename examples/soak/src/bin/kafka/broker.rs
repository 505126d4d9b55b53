//! A broker of one's own, which is killed and started again.

use std::error::Error;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// A program that runs a broker, and where it is looked up if nothing is set.
const SERVER: &str = "KAFKA_SERVER";
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");

/// How long a broker may take to be there.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker, while it runs; its data goes with it.
pub(crate) struct Broker {
    program: String,
    folder: PathBuf,
    ports: [u16; 2],
    process: Child,
}

impl Broker {
    /// Starts an empty broker with a topic.
    pub(crate) async fn start(topic: &str, partitions: i32) -> Result<Self, Box<dyn Error>> {
        let program = setting()?;
        let folder = std::env::temp_dir().join(format!("soak-kafka-{}-{topic}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = [free()?, free()?];
        let [port, controller] =
            listeners.each_ref().map(|listener| listener.local_addr().map(|at| at.port()));
        let ports = [port?, controller?];
        drop(listeners);
        let process = run(&program, &folder, ports).inspect_err(|_| {
            // The complaint is the other one's.
            let _ = fs::remove_dir_all(&folder);
        })?;
        let broker = Self { program, folder, ports, process };
        broker.create(topic, partitions).await?;
        Ok(broker)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Kills it, and starts it again with the data that is there.
    pub(crate) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = run(&self.program, &self.folder, self.ports)?;
        Ok(())
    }

    async fn create(&self, topic: &str, partitions: i32) -> Result<(), Box<dyn Error>> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.address()).create()?;
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let began = Instant::now();
        loop {
            let error = match admin.create_topics([&topic], &options).await {
                Ok(results) => match results.into_iter().find_map(Result::err) {
                    None => return Ok(()),
                    Some((topic, code)) => format!("{topic}: {code}"),
                },
                Err(error) => error.to_string(),
            };
            if began.elapsed() > PATIENCE {
                return Err(
                    format!("the broker does not answer, see {}: {error}", self.folder.display()).into()
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be gone already, and what it leaves behind lies in the folder for temporary files.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(program: &str, folder: &PathBuf, [port, controller]: [u16; 2]) -> Result<Child, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(program);
    command.arg(folder).args([port, controller].map(|port| port.to_string()));
    // The end of its input stops it: it does not outlive this process.
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    command.spawn().map_err(|error| format!("cannot run {program}: {error}").into())
}

/// From the environment, or from what `cargo xtask services up` wrote.
fn setting() -> Result<String, Box<dyn Error>> {
    if let Ok(program) = std::env::var(SERVER) {
        return Ok(program);
    }
    let lines = fs::read_to_string(SETTINGS).unwrap_or_default();
    let found =
        lines.lines().find_map(|line| line.strip_prefix("export ")?.strip_prefix(SERVER)?.strip_prefix('='));
    let found = found.map(|program| program.trim_matches('\'').to_owned());
    found.ok_or_else(|| format!("{SERVER} is not set: `cargo xtask services up kafka`").into())
}
