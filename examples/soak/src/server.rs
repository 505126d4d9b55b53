//! The process of a private server that can be killed and restarted.

use std::error::Error;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct Server {
    program: String,
    arguments: Vec<String>,
    folder: PathBuf,
    process: Child,
}

impl Server {
    /// Starts the program that the variable names, without data. `service` is the service whose start sets the variable,
    /// `name` distinguishes the servers of one process, and `configure` returns the arguments for the folder of the data.
    ///
    /// # Errors
    /// The variable is not set, the folder cannot be prepared, or the program cannot be run.
    pub fn start(
        (variable, service): (&str, &str),
        name: &str,
        configure: impl FnOnce(&Path) -> Result<Vec<String>, Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        let program = crate::setting(variable, service)?;
        let folder = std::env::temp_dir().join(format!("soak-{service}-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let started = configure(&folder).and_then(|arguments| {
            let process = run(&program, &arguments, &folder)?;
            Ok((arguments, process))
        });
        let (arguments, process) = started.inspect_err(|_| {
            // The error of the start is returned, not that of the clean-up.
            let _ = fs::remove_dir_all(&folder);
        })?;
        Ok(Self { program, arguments, folder, process })
    }

    /// Kills the server and restarts it with its data.
    ///
    /// # Errors
    /// The process cannot be killed or started.
    pub fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = run(&self.program, &self.arguments, &self.folder)?;
        Ok(())
    }

    /// Returns the path of the log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        log(&self.folder)
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

/// Returns ports of 127.0.0.1 that were free a moment ago.
///
/// # Errors
/// No port is free.
pub fn free_ports<const N: usize>() -> Result<[u16; N], Box<dyn Error>> {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        let listener = listener.as_ref().map_err(|error| format!("no port is free: {error}"))?;
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log.txt")
}

fn run(program: &str, arguments: &[String], folder: &Path) -> Result<Child, Box<dyn Error>> {
    let log = File::options().create(true).append(true).open(log(folder))?;
    let mut command = Command::new(program);
    // Kafka's program stops at the end of its input, so it does not outlive this process.
    command.args(arguments).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    command.spawn().map_err(|error| format!("cannot run {program}: {error}").into())
}
