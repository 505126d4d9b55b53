//! A server of the test's own: it refuses a subject, and it is stopped and started again. A consumer that is too slow.

#[cfg(feature = "jetstream")]
mod jetstream;
#[cfg(feature = "jetstream")]
mod long;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use async_nats::ConnectOptions;
use otel_nats::connect_with_options;
use otel_testing::Recorder;
use tokio::sync::mpsc;

use crate::support::{LONG, bare, error_type, options, received, setting, synchronize, unique};

/// A server, which is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn start(settings: &str) -> Self {
        let folder = folder();
        let server = Self::launch(folder, settings);
        server.ready().await;
        server
    }

    fn launch(folder: PathBuf, settings: &str) -> Self {
        let port = free_port();
        let config = format!("listen: \"127.0.0.1:{port}\"\n{settings}");
        std::fs::write(folder.join("conf"), config).unwrap();
        Self { child: spawn(&folder), folder, url: format!("nats://127.0.0.1:{port}") }
    }

    /// Connects until the server answers, for which no event exists.
    pub(crate) async fn ready(&self) {
        let begun = Instant::now();
        while async_nats::connect(&self.url).await.is_err() {
            assert!(begun.elapsed() < LONG, "the server does not answer");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.folder);
        self.ready().await;
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(unique("nats"));
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn spawn(folder: &Path) -> Child {
    let mut command = Command::new(setting("NATS_SERVER"));
    command.arg("-c").arg(folder.join("conf")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Options whose events arrive in the channel as text.
pub(crate) fn with_events() -> (ConnectOptions, mpsc::UnboundedReceiver<String>) {
    let (sender, events) = mpsc::unbounded_channel();
    let options = ConnectOptions::new().event_callback(move |event| {
        let sender = sender.clone();
        async move { drop(sender.send(event.to_string())) }
    });
    (options, events)
}

pub(crate) async fn event(events: &mut mpsc::UnboundedReceiver<String>, expected: &str) {
    let wait = async { while !events.recv().await.unwrap().contains(expected) {} };
    tokio::time::timeout(LONG, wait).await.unwrap();
}

#[tokio::test]
async fn a_message_without_permission_is_an_event_and_not_an_error_of_its_span() {
    let recorder = Recorder::new();
    let user = "{ user: u, password: p, permissions: { publish: { deny: secret } } }";
    let guest = "{ user: g, password: g }";
    let server =
        Server::start(&format!("no_auth_user: g\nauthorization {{ users: [{user}, {guest}] }}\n")).await;
    let (bare, mut events) = with_events();
    let bare = bare.user_and_password("u".to_owned(), "p".to_owned());
    let client = connect_with_options(&server.url, bare).await.unwrap().with_options(options(&recorder));
    client.publish("secret", "".into()).await.unwrap();
    event(&mut events, "Permissions Violation").await;
    assert_eq!(error_type(&recorder.span("publish secret")), None);
    recorder.assert_clean();
}

#[tokio::test]
async fn messages_of_an_outage_arrive_with_their_context_after_it() {
    let recorder = Recorder::new();
    let mut server = Server::start("").await;
    let (bare, mut events) = with_events();
    let client = connect_with_options(&server.url, bare).await.unwrap().with_options(options(&recorder));
    let mut subscriber = client.subscribe("orders").await.unwrap();
    synchronize(client.inner()).await;
    server.stop();
    event(&mut events, "disconnected").await;
    client.publish("orders", "one book".into()).await.unwrap();
    server.restart().await;
    let message = received(&mut subscriber).await;
    message.process(async |message| assert_eq!(message.payload, "one book")).await;
    let [publish, process] = ["publish orders", "process orders"].map(|name| recorder.span(name));
    assert_eq!(process.parent_span_id, publish.span_context.span_id(), "{}", recorder.tree());
    recorder.assert_clean();
}

#[tokio::test]
async fn messages_that_a_slow_consumer_loses_are_not_recorded() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let (slow, mut events) = with_events();
    let client = connect_with_options(setting("NATS_URL"), slow.subscription_capacity(1)).await.unwrap();
    let client = client.with_options(options(&recorder));
    let mut subscriber = client.subscribe(subject.clone()).await.unwrap();
    synchronize(client.inner()).await;
    let other = bare().await;
    let publish = async |payload: &'static str| {
        other.publish(subject.clone(), payload.into()).await.unwrap();
        // The server has the message, then the client has it.
        synchronize(&other).await;
        synchronize(client.inner()).await;
    };
    for payload in ["a", "b", "c"] {
        publish(payload).await;
    }
    event(&mut events, "slow consumer").await;
    received(&mut subscriber).await.process(async |message| assert_eq!(message.payload, "a")).await;
    publish("d").await;
    received(&mut subscriber).await.process(async |message| assert_eq!(message.payload, "d")).await;
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 2.0);
    assert_eq!(recorder.spans().len(), 2);
    recorder.assert_clean();
}
