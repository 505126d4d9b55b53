//! Which Postgres the transfers are made on: one that is there, or one that is started for as long as they take.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::{Failure, PATIENCE};

/// The variable that says where a server is.
pub(crate) const URL: &str = "POSTGRES_URL";

/// Where Debian and Ubuntu have the releases of PostgreSQL, each in a folder of its number.
const RELEASES: &str = "/usr/lib/postgresql";

/// As whom the server runs where this process is root's.
const USER: &str = "postgres";

pub(crate) struct Server {
    url: String,
    started: Option<Started>,
}

/// A server that was started here.
struct Started {
    process: Child,
    data: PathBuf,
}

impl Server {
    /// Somebody else's.
    pub(crate) fn at(url: String) -> Self {
        Self { url, started: None }
    }

    /// The one that the environment names, or else one that is started; its files are in the folder.
    pub(crate) async fn find(folder: &Path) -> Result<Self, Failure> {
        match std::env::var(URL) {
            Ok(url) => Ok(Self::at(url)),
            Err(_) => {
                let why = |error: Failure| format!("{URL} is not set, and none can be started: {error}");
                Self::start(folder).await.map_err(|error| why(error).into())
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
        let made = initdb.arg("--no-sync").arg("--pgdata").arg(&data).stdin(Stdio::null()).output().await;
        let made = made.map_err(|error| format!("initdb: {error}"))?;
        if !made.status.success() {
            let complaint = String::from_utf8_lossy(&made.stderr);
            return Err(complaint.lines().next().unwrap_or("initdb failed").into());
        }
        // Free now, and most likely still in a moment.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut postgres = program("postgres");
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        // Two-phase commit needs prepared transactions, of which none are allowed by default.
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
        let mut server = Self { url, started: Some(Started { process, data }) };
        server.answers().await?;
        Ok(server)
    }

    async fn answers(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let error = match PgConnection::connect(&self.url).await {
                Ok(connection) => return Ok(connection.close().await?),
                Err(error) => error,
            };
            let ended = match &mut self.started {
                Some(started) => started.process.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                return Err(format!("postgres has ended, with {status}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err(error.into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops it, if it was started here. Its files go with the folder.
    pub(crate) async fn stop(self) {
        let Some(Started { mut process, data }) = self.started else { return };
        // At once, for nobody wants its data any more. If it cannot, the server is killed below.
        let mut stop = program("pg_ctl");
        let stop = stop.args(["stop", "--mode", "immediate", "--pgdata"]).arg(data).stdout(Stdio::null());
        if stop.status().await.is_ok_and(|status| status.success()) {
            let _ = process.wait().await;
        }
    }
}

/// One of PostgreSQL's programs. They refuse to run as root; Debian's package brings a user for them.
fn program(name: &str) -> Command {
    let path = programs().join(name);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(path).current_dir("/");
    command
}

/// Whether this process is root's, by whose files its own entry in `/proc` is.
fn is_root() -> bool {
    #[cfg(unix)]
    return std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    #[cfg(not(unix))]
    false
}

/// The folder of the latest release there, or none: then the programs are on the path, if they are anywhere.
fn programs() -> PathBuf {
    let release =
        |folder: PathBuf| Some((folder.file_name()?.to_str()?.parse::<u32>().ok()?, folder.join("bin")));
    let there = std::fs::read_dir(RELEASES).into_iter().flatten().flatten();
    let releases = there.filter_map(|entry| release(entry.path()));
    // Clients alone are a folder with fewer programs.
    let whole = releases.filter(|(_, bin)| bin.join("initdb").is_file());
    whole.max().map(|(_, bin)| bin).unwrap_or_default()
}
