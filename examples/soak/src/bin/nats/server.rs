//! A private server that can be killed and restarted.

use std::error::Error;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::plan::MAX_SIZE;

/// The timeout of a server's start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropping it kills the process and removes its data.
pub(crate) struct Server {
    program: String,
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Server {
    /// Starts a server without data, and waits until it answers.
    pub(crate) async fn start(name: &str) -> Result<Self, Box<dyn Error>> {
        let program = soak::setting("NATS_SERVER", "nats")?;
        let folder = std::env::temp_dir().join(format!("soak-nats-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: {MAX_SIZE}\njetstream {{ store_dir: \"{}\" }}\n",
            folder.display()
        );
        fs::write(folder.join("conf"), config)?;
        let process = run(&program, &folder).inspect_err(|_| {
            // The error of the start is returned, not that of the clean-up.
            let _ = fs::remove_dir_all(&folder);
        })?;
        let server = Self { program, folder, port, process };
        let began = Instant::now();
        while let Err(error) = async_nats::connect(server.address()).await {
            if began.elapsed() > PATIENCE {
                let log = server.folder.display();
                return Err(format!("the server did not start (log in {log}): {error}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills the server and restarts it with its data.
    pub(crate) fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = run(&self.program, &self.folder)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors are ignored: the process may have exited, and the folder is in the system's temporary folder.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(program: &str, folder: &Path) -> Result<Child, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("conf")).stdout(log.try_clone()?).stderr(log);
    command.spawn().map_err(|error| format!("cannot run {program}: {error}").into())
}
