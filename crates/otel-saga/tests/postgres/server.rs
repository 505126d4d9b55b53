//! A separate server, which a test can stop and start.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MISSING: &str = "PostgreSQL's programs are missing: this test stops and starts a server of its own. On Debian and \
                       Ubuntu: apt-get install postgresql";

pub(crate) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("otel-saga-server-{}-{port}", std::process::id()));
        let mut server =
            Self { folder, programs: programs().unwrap_or_else(|| panic!("{MISSING}")), port, process: None };
        std::fs::create_dir_all(&server.folder).unwrap();
        if is_root() {
            done(Command::new("chown").arg("postgres:postgres").arg(&server.folder));
        }
        let mut initdb = server.command("initdb");
        initdb.args(["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]);
        done(initdb.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(server.folder.join("data")));
        server.start_again();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Starts the server on its existing data, also after a crash, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.folder.join("data")).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories="] {
            postgres.args(["-c", setting]);
        }
        self.process = Some(postgres.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(120), "it does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the server immediately, like a crash: only committed data is on the disk.
    pub(crate) fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            done(Command::new("kill").args(["-QUIT", &process.id().to_string()]));
            process.wait().unwrap();
        }
    }

    /// PostgreSQL refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(&self.folder);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Debian and Ubuntu install each release in a numbered folder; other systems have the programs on the path.
fn programs() -> Option<PathBuf> {
    let whole = |folder: &Path| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let releases = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = releases.map(|entry| entry.path().join("bin")).chain(std::env::split_paths(&path));
    folders.filter(|folder| whole(folder)).max_by_key(|folder| folder.starts_with("/usr/lib/postgresql"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
