//! The journal behind PgBouncer.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use otel_saga::journal::{Journal, PostgresOptions, Status};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::shop::{Shop, builder, order};
use crate::support::Scratch;

const MISSING: &str = "PgBouncer is missing: this test starts one of its own. On Debian and Ubuntu: apt-get install \
                       pgbouncer";

/// A PgBouncer in front of the server of the tests.
struct Pooler {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Pooler {
    /// Starts PgBouncer in this pool mode.
    fn start(server: &PgConnectOptions, mode: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("otel-saga-pooler-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (host, server_port, user) = (server.get_host(), server.get_port(), server.get_username());
        let settings = format!(
            "[databases]\n* = host={host} port={server_port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n"
        );
        std::fs::write(folder.join("pgbouncer.ini"), settings).unwrap();
        let program = program().unwrap_or_else(|| panic!("{MISSING}"));
        // It refuses to run as root.
        let mut command = if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg(folder.join("pgbouncer.ini")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "PgBouncer does not accept connections");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { folder, port, process }
    }

    fn options(&self, database: &str) -> PostgresOptions {
        PostgresOptions::new(&format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)).unwrap()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Debian installs it in a folder that is not on the path of all users.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
    folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
}

fn server(database: &Scratch) -> PgConnectOptions {
    PgConnectOptions::from_str(&database.url()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sagas_run_behind_a_pooler_in_session_mode() {
    let database = Scratch::new();
    let server = server(&database);
    let pooler = Pooler::start(&server, "session");
    let options = pooler.options(server.get_database().unwrap());
    options.migrate().await.unwrap();
    let shop = Shop::default();
    let mut workers = Vec::new();
    for name in ["a", "b"] {
        let journal: Arc<dyn Journal> = Arc::new(options.connect().await.unwrap());
        workers.push(builder(&journal, &shop, name).start());
    }
    let mut ids = Vec::new();
    for key in 0..20 {
        ids.push(workers[key % 2].start(&order(1), &key.to_string(), 7).await.unwrap());
    }
    for (key, id) in ids.iter().enumerate() {
        assert_eq!(workers[(key + 1) % 2].wait(id).await.unwrap(), Status::Completed);
    }
    for worker in workers {
        worker.shutdown(Duration::from_secs(10)).await;
    }
}

/// The session's settings can get lost there, and with them the schema.
#[tokio::test]
async fn a_migration_behind_a_pooler_in_transaction_mode_writes_to_its_schema() {
    let database = Scratch::new();
    let server = server(&database);
    let pooler = Pooler::start(&server, "transaction");
    let options = pooler.options(server.get_database().unwrap()).with_schema("orders");
    let migrated = options.migrate().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let tables = "SELECT DISTINCT schemaname::text FROM pg_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let schemas: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    assert_eq!(schemas, ["orders"], "{migrated:?}");
}
