//! A server of the test's own: it is stopped and started again, it is slow, it demands a password.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use otel_redis::Client;
use otel_testing::Recorder;
use otel_testing::spans::error_type;
use redis::aio::ConnectionManagerConfig;
use redis::{AsyncCommands as _, Commands as _, Script};

use crate::support::{LONG, options, patient, setting, unique};

/// A server, which is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) port: u16,
    settings: Vec<String>,
}

impl Server {
    pub(crate) fn start(settings: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(unique("redis"));
        std::fs::create_dir(&folder).unwrap();
        let port = free_port();
        let settings: Vec<_> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let server = Self { child: spawn(&folder, port, &settings), folder, port, settings };
        server.ready();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the value of a setting that the server was started with.
    #[cfg(feature = "cluster-async")]
    pub(crate) fn setting(&self, name: &str) -> &str {
        let place = self.settings.iter().position(|setting| setting == name).unwrap();
        &self.settings[place + 1]
    }

    /// Connects until the server listens, for which no event exists.
    fn ready(&self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < LONG, "the server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.settings);
        self.ready();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(folder: &std::path::Path, port: u16, settings: &[String]) -> Child {
    let mut command = Command::new(setting("REDIS_SERVER"));
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()]);
    command.args(settings).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn errors(recorder: &Recorder) -> Vec<Option<String>> {
    recorder.spans().iter().map(error_type).collect()
}

fn client(server: &Server, recorder: &Recorder) -> Client {
    Client::open(server.url()).unwrap().with_options(options(recorder).with_server("cache", None))
}

#[tokio::test]
async fn a_server_that_goes_away_ends_the_commands_that_wait_for_it() {
    let (recorder, mut server) = (Recorder::new(), Server::start(&[]));
    let mut connection =
        client(&server, &recorder).get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    let mut other = connection.clone();
    let waiting = tokio::spawn(async move { other.blpop::<_, Option<(String, String)>>("list", 0.0).await });
    // The reply comes after the server has blocked the other client of the same connection, which then gets none.
    let mut bare = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    loop {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut bare).unwrap();
        if clients.contains("flags=b") {
            break;
        }
        tokio::task::yield_now().await;
    }
    server.stop();
    waiting.await.unwrap().unwrap_err();
    connection.get("key").await.map(|_: Option<String>| ()).unwrap_err();
    let closed = Some("connection_closed".to_owned());
    let reset = Some("connection_reset".to_owned());
    for error in errors(&recorder) {
        assert!(error == closed || error == reset, "{error:?}");
    }
    assert_eq!(recorder.spans().len(), 2);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_manager_connects_again_and_a_script_is_loaded_again() {
    let (recorder, mut server) = (Recorder::new(), Server::start(&[]));
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(LONG))
        .set_connection_timeout(Some(LONG))
        .set_number_of_retries(0);
    let mut manager = client(&server, &recorder).get_connection_manager_with_config(config).await.unwrap();
    let script = Script::new("return 7");
    let seven: u32 = script.invoke_async(&mut manager).await.unwrap();
    assert_eq!(seven, 7);
    server.stop();
    // The first command fails by the loss of the connection, or by the refusal of a new one.
    manager.get("key").await.map(|_: Option<String>| ()).unwrap_err();
    while let Err(error) = manager.get("key").await.map(|_: Option<String>| ()) {
        if error.is_connection_refusal() {
            break;
        }
    }
    server.restart();
    let before = recorder.spans().len();
    while script.invoke_async::<_, u32>(&mut manager).await.is_err() {}
    let spans = recorder.spans();
    let after: Vec<_> = spans[before..].iter().map(|span| (&*span.name, error_type(span))).collect();
    let last = &after[after.len() - 3..];
    let noscript = Some("NOSCRIPT".to_owned());
    let expected = [("EVALSHA cache", noscript), ("SCRIPT LOAD cache", None), ("EVALSHA cache", None)];
    assert_eq!(last, expected);
    let seen = errors(&recorder);
    assert!(seen.contains(&Some("connection_refused".to_owned())), "{seen:?}");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_lazy_manager_reports_a_server_that_does_not_listen() {
    let (recorder, mut server) = (Recorder::new(), Server::start(&[]));
    server.stop();
    let config = ConnectionManagerConfig::new().set_number_of_retries(0);
    let mut manager = client(&server, &recorder).get_connection_manager_lazy(config).unwrap();
    manager.get("key").await.map(|_: Option<String>| ()).unwrap_err();
    assert_eq!(errors(&recorder), [Some("connection_refused".to_owned())]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_reply_that_is_late_is_a_timeout() {
    let (recorder, server) = (Recorder::new(), Server::start(&[]));
    let config = patient().set_response_timeout(Some(Duration::from_millis(20)));
    let mut connection =
        client(&server, &recorder).get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let error = connection.blpop("list", 0.0).await.map(|_: Option<(String, String)>| ()).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(errors(&recorder), [Some("timeout".to_owned())]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_password_that_is_missing_is_the_servers_error() {
    let recorder = Recorder::new();
    let server = Server::start(&["--requirepass", "hunter2"]);
    let mut connection =
        client(&server, &recorder).get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    connection.get("key").await.map(|_: Option<String>| ()).unwrap_err();
    redis::cmd("AUTH").arg("hunter1").exec_async(&mut connection).await.unwrap_err();
    redis::cmd("AUTH").arg("hunter2").exec_async(&mut connection).await.unwrap();
    let expected = [Some("NOAUTH".to_owned()), Some("WRONGPASS".to_owned()), None];
    assert_eq!(errors(&recorder), expected);
    recorder.assert_clean();
}

#[test]
fn a_blocking_connection_loses_its_server() {
    let (recorder, mut server) = (Recorder::new(), Server::start(&[]));
    let mut connection = client(&server, &recorder).get_connection().unwrap();
    let () = connection.set("key", 7).unwrap();
    assert!(redis::ConnectionLike::is_open(&connection));
    server.stop();
    connection.get("key").map(|_: Option<u32>| ()).unwrap_err();
    assert!(!redis::ConnectionLike::is_open(&connection));
    let errors = errors(&recorder);
    assert_eq!(errors[0], None);
    assert!(matches!(errors[1].as_deref(), Some("connection_closed" | "connection_reset")), "{errors:?}");
    recorder.assert_clean();
}
