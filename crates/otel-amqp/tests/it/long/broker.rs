//! A broker of the test's own: a user that may not write, and a broker that is stopped midway and started again.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ConnectionProperties};
use otel_amqp::{Channel, Connection};
use otel_testing::{Recorder, service};

use crate::support::{LONG, START, attribute, confirming, consume, error_type, options, received, unique};

/// The time in which a broker starts on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A broker, which is killed when this is dropped.
struct Broker {
    child: Child,
    folder: PathBuf,
    ports: [u16; 3],
}

impl Broker {
    async fn start() -> Self {
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

    /// Connects until the broker answers, for which no event exists.
    async fn ready(&self) {
        let begun = Instant::now();
        while lapin::Connection::connect(&self.url("guest"), ConnectionProperties::default()).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "the broker does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn restart(&mut self) {
        self.child = spawn(&self.folder, self.ports);
        self.ready().await;
    }

    async fn channel(&self, user: &str, recorder: &Recorder, properties: ConnectionProperties) -> Channel {
        let connection = Connection::connect(&self.url(user), properties).await.unwrap();
        let options = options(recorder).with_server("broker.example", 5672);
        connection.with_options(options).create_channel().await.unwrap()
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

/// Publishes with a recovering connection until a message is confirmed.
async fn publish_until_confirmed(channel: &Channel, queue: &str) -> usize {
    let (begun, mut attempts) = (Instant::now(), 0);
    loop {
        attempts += 1;
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sent = channel.basic_publish("".into(), queue.into(), options, b"p", properties).await;
        let confirmed = match sent {
            Ok(confirm) => {
                let confirmation = tokio::time::timeout(LONG, confirm).await.unwrap();
                confirmation.is_ok_and(|confirmation| confirmation.is_ack())
            }
            Err(_) => false,
        };
        if confirmed {
            return attempts;
        }
        assert!(begun.elapsed() < PATIENCE, "the connection does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_stopped_midway_and_a_user_that_may_not_write() {
    let recorder = Recorder::builder().with_patience(LONG).build();
    let mut broker = Broker::start().await;

    let reader = broker.channel("reader", &recorder, ConnectionProperties::default()).await;
    confirming(&reader).await;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = reader.basic_publish("amq.topic".into(), "key".into(), options, b"p", properties).await;
    assert!(sent.unwrap().await.is_err());
    let refused = recorder.span("publish amq.topic:key");
    assert_eq!(error_type(&refused).as_deref(), Some("ACCESS_REFUSED"));

    let recovering = ConnectionProperties::default().enable_auto_recover().configure_backoff(|backoff| {
        backoff
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_millis(500))
            .without_max_times()
    });
    let channel = broker.channel("guest", &recorder, recovering).await;
    confirming(&channel).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("jobs".into(), durable, FieldTable::default()).await.unwrap();
    let mut consumer = consume(&channel, "jobs").await;
    publish_until_confirmed(&channel, "jobs").await;
    let before = received(&mut consumer).await;

    // A message on its way when the broker dies has an end, and so has each attempt until the broker is back.
    let finished = recorder.spans().len();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let lost = channel.basic_publish("".into(), "jobs".into(), options, b"p", properties).await;
    broker.stop();
    // lapin fails what was on its way when it recovers, not before.
    broker.restart().await;
    let lost = match lost {
        Ok(confirm) => tokio::time::timeout(LONG, confirm).await.unwrap().is_ok(),
        Err(_) => false,
    };
    let attempts = publish_until_confirmed(&channel, "jobs").await;
    let spans = recorder.spans();
    let ends: Vec<_> = spans[finished..].iter().map(error_type).collect();
    assert_eq!(ends.len(), 1 + attempts, "{ends:?}");
    assert_eq!(ends[0].is_none(), lost, "{ends:?}");
    assert!(ends[1..attempts].iter().all(Option::is_some) && ends[attempts].is_none(), "{ends:?}");

    // The topology is recovered through the wrapper: the consumer receives again.
    assert!(
        !before.ack(BasicAckOptions::default()).await.unwrap_or(false),
        "the delivery was that of another connection"
    );
    let after = received(&mut consumer).await;
    after.process(async |_| ()).await;
    assert!(after.ack(BasicAckOptions::default()).await.unwrap());
    let process = recorder.span("process jobs");
    assert_eq!(attribute(&process, "server.address").as_deref(), Some("broker.example"));
    let empty = channel.basic_get("none".into(), BasicGetOptions::default()).await;
    assert!(empty.is_err());
    recorder.assert_clean();
}
