//! A broker of the test's own, for tests that stop it, block it, or log in as another user.

/// Tests that take half a minute or stop a broker, which the quick checks skip.
mod long {
    mod blocked;
    mod permissions;
    mod restart;
}

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapin::ConnectionProperties;
use otel_amqp::{Channel, Connection};
use otel_testing::{Recorder, service};

use crate::support::{START, options, unique};

/// The time in which a broker starts on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The longest attempt to connect to a broker that starts.
const ATTEMPT: Duration = Duration::from_secs(10);

/// A broker, which is killed when this is dropped.
pub(crate) struct Broker {
    child: Child,
    folder: PathBuf,
    ports: [u16; 3],
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(unique("rabbitmq"));
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = held.map(|listener| listener.local_addr().unwrap().port());
        let broker = Self { child: spawn(&folder, ports), folder, ports };
        broker.ready().await;
        broker
    }

    fn url(&self, user: &str) -> String {
        format!("amqp://{user}:{user}@127.0.0.1:{}", self.ports[0])
    }

    /// Connects until the broker answers, for which no event exists. An attempt while it starts may stay pending.
    async fn ready(&self) {
        let begun = Instant::now();
        let url = self.url("guest");
        let connect = || {
            let connecting = lapin::Connection::connect(&url, ConnectionProperties::default());
            tokio::time::timeout(ATTEMPT, connecting)
        };
        while !matches!(connect().await, Ok(Ok(_))) {
            assert!(begun.elapsed() < PATIENCE, "the broker does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.folder, self.ports);
        self.ready().await;
    }

    /// Connects with instrumentation. The recorded address is a fixed one.
    pub(crate) async fn connect(
        &self,
        user: &str,
        recorder: &Recorder,
        properties: ConnectionProperties,
    ) -> Connection {
        let connection = Connection::connect(&self.url(user), properties).await.unwrap();
        connection.with_options(options(recorder).with_server("broker.example", 5672))
    }

    pub(crate) async fn channel(
        &self,
        user: &str,
        recorder: &Recorder,
        properties: ConnectionProperties,
    ) -> Channel {
        self.connect(user, recorder, properties).await.create_channel().await.unwrap()
    }

    /// Runs the broker's `rabbitmqctl`. The program on `PATH` is a wrapper for the users `root` and `rabbitmq` on Debian.
    pub(crate) fn control(&self, arguments: &[&str]) {
        const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
        let program = if Path::new(DEBIAN).exists() { DEBIAN } else { "rabbitmqctl" };
        let mut command = Command::new(program);
        // The cookie of the distribution is in the folder, as that of the program which runs the broker.
        command.env("HOME", &self.folder).env("RABBITMQ_NODENAME", "rabbit@localhost");
        command.env("ERL_EPMD_PORT", self.ports[2].to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null").args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn spawn(folder: &PathBuf, ports: [u16; 3]) -> Child {
    let mut command = Command::new(service::setting("RABBITMQ_SERVER", START));
    command.arg(folder).args(ports.map(|port| port.to_string()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
