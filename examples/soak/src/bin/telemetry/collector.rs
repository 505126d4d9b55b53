//! A private collector that can be killed and restarted on its ports.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use otel_telemetry::Protocol;

/// The timeout of a start, and of printing what was accepted.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running collector. Dropping it kills the process and removes its log.
pub(crate) struct Collector {
    program: String,
    folder: PathBuf,
    ports: [u16; 2],
    process: Child,
}

impl Collector {
    /// Starts a collector, and waits until it accepts connections.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let program = soak::setting("COLLECTOR_SERVER", "collector")?;
        let folder = std::env::temp_dir().join(format!("soak-telemetry-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // Both are bound before the first is released, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let mut ports = [0; 2];
        for (port, listener) in ports.iter_mut().zip(free) {
            *port = listener?.local_addr()?.port();
        }
        let process = run(&program, &folder, ports)?;
        let collector = Self { program, folder, ports, process };
        collector.wait()?;
        Ok(collector)
    }

    pub(crate) fn url(&self, protocol: Protocol) -> String {
        let [grpc, http] = self.ports;
        format!("http://127.0.0.1:{}", if protocol == Protocol::Grpc { grpc } else { http })
    }

    pub(crate) fn kill(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts the collector again after [`kill`](Self::kill).
    pub(crate) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.process = run(&self.program, &self.folder, self.ports)?;
        Ok(())
    }

    fn wait(&self) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        for port in self.ports {
            while let Err(error) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                if began.elapsed() > PATIENCE {
                    let log = self.folder.display();
                    return Err(format!("the collector did not start (log in {log}): {error}").into());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Returns the number of spans of a service that the collector has not printed, of those with numbers below `ended`.
    /// Waits until there are no more than `most`.
    pub(crate) async fn missing(&self, service: &str, ended: u64, most: u64) -> Result<u64, Box<dyn Error>> {
        let began = Instant::now();
        let prefix = format!("{service}-");
        loop {
            let mut printed = HashSet::new();
            for line in BufReader::new(File::open(self.folder.join("log"))?).lines() {
                let line = line?;
                let name = line.trim_start().strip_prefix("Name");
                let name = name.and_then(|name| name.rsplit(' ').next()?.strip_prefix(&prefix));
                printed.extend(name.and_then(|number| number.parse::<u64>().ok()).filter(|n| *n < ended));
            }
            let missing = ended - printed.len() as u64;
            if missing <= most || began.elapsed() > PATIENCE {
                return Ok(missing);
            }
            // Polls, because another process writes the file without a notification.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Errors are ignored: the process may have exited, and the folder is in the system's temporary folder.
        let _ = self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(program: &str, folder: &std::path::Path, [grpc, http]: [u16; 2]) -> Result<Child, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(program);
    command.args(["start", "--exporter", "blackhole", "--debug-log", "traces"]);
    command.args(["--debug-log-verbosity", "detailed", "--otlp-grpc-endpoint"]);
    command.args([format!("127.0.0.1:{grpc}"), "--otlp-http-endpoint".into(), format!("127.0.0.1:{http}")]);
    // The settings of this program in the environment are meant for a different instance.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROTEL_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdout(log.try_clone()?).stderr(log);
    command.spawn().map_err(|error| format!("cannot run {program}: {error}").into())
}
