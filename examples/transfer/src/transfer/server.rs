//! The Postgres server of the transfers: an external one, or a temporary one started by this program.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::{Failure, PATIENCE};

/// The variable with the URL of an external server.
pub(crate) const URL: &str = "POSTGRES_URL";

/// The folder in which Debian and Ubuntu install PostgreSQL, with a subfolder per major release.
const RELEASES: &str = "/usr/lib/postgresql";

/// The user that runs the server if this process runs as root.
const USER: &str = "postgres";

pub(crate) struct Server {
    url: String,
    temporary: Option<TemporaryServer>,
}

/// The process of a temporary server.
struct TemporaryServer {
    process: Child,
    data: PathBuf,
}

impl Server {
    /// An external server.
    pub(crate) fn external(url: String) -> Self {
        Self { url, temporary: None }
    }

    /// Uses the server of [`URL`], or starts a temporary one with its files in the folder.
    pub(crate) async fn find(folder: &Path) -> Result<Self, Failure> {
        match std::env::var(URL) {
            Ok(url) => Ok(Self::external(url)),
            Err(_) => {
                let message =
                    |error: Failure| format!("{URL} is not set, and starting a server failed: {error}");
                Self::start(folder).await.map_err(|error| message(error).into())
            }
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    async fn start(folder: &Path) -> Result<Self, Failure> {
        let data = folder.join("postgres");
        if is_root() {
            let owner = ["-d", "-m", "700", "-o", USER, "-g", USER];
            Command::new("install").args(owner).arg(&data).stderr(Stdio::null()).status().await?;
        }
        let mut initdb = program("initdb");
        initdb.args(["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]);
        let output = initdb.arg("--no-sync").arg("--pgdata").arg(&data).stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| format!("initdb: {error}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(stderr.lines().next().unwrap_or("initdb failed").into());
        }
        // The port is free now; another process could take it before the server binds it.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut postgres = program("postgres");
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        // Two-phase commit needs prepared transactions, which are disabled by default.
        for setting in
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_prepared_transactions=16"]
        {
            postgres.args(["-c", setting]);
        }
        let process = postgres
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let url = format!("postgres://postgres@127.0.0.1:{port}");
        let mut server = Self { url, temporary: Some(TemporaryServer { process, data }) };
        server.wait_until_ready().await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let error = match PgConnection::connect(&self.url).await {
                Ok(connection) => return Ok(connection.close().await?),
                Err(error) => error,
            };
            let exited = match &mut self.temporary {
                Some(temporary) => temporary.process.try_wait()?,
                None => None,
            };
            if let Some(status) = exited {
                return Err(format!("postgres exited: {status}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err(error.into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops a temporary server; its files are removed with the folder.
    pub(crate) async fn stop(self) {
        let Some(TemporaryServer { mut process, data }) = self.temporary else { return };
        // Without a checkpoint, because the data is not needed. If this fails, dropping `process` kills the server.
        let mut stop = program("pg_ctl");
        let stop = stop.args(["stop", "--mode", "immediate", "--pgdata"]).arg(data).stdout(Stdio::null());
        if stop.status().await.is_ok_and(|status| status.success()) {
            let _ = process.wait().await;
        }
    }
}

/// A command for one of PostgreSQL's programs. As root it runs as user `postgres`, because PostgreSQL refuses to run as
/// root; the Debian package creates that user.
fn program(name: &str) -> Command {
    let path = programs().join(name);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(path).current_dir("/");
    command
}

/// Returns `true` if this process runs as root, determined by the owner of its entry in `/proc`.
fn is_root() -> bool {
    #[cfg(unix)]
    return std::fs::metadata("/proc/self")
        .is_ok_and(|entry| std::os::unix::fs::MetadataExt::uid(&entry) == 0);
    #[cfg(not(unix))]
    false
}

/// Returns the `bin` folder of the latest complete release; an empty path means that the programs are on `PATH`.
fn programs() -> PathBuf {
    let release =
        |folder: PathBuf| Some((folder.file_name()?.to_str()?.parse::<u32>().ok()?, folder.join("bin")));
    let entries = std::fs::read_dir(RELEASES).into_iter().flatten().flatten();
    let releases = entries.filter_map(|entry| release(entry.path()));
    // A release with only the client package has no `initdb`.
    let complete = releases.filter(|(_, bin)| bin.join("initdb").is_file());
    complete.max().map(|(_, bin)| bin).unwrap_or_default()
}
