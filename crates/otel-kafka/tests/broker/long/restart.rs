//! A broker that is killed and restarted: no message is lost, and each span ends once.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use otel_kafka::{FutureProducer, StreamConsumer};
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::producer::FutureRecord;

use crate::support::{LONG, config_of, error_type, member_of, options, recorder, setting, topic_on, unique};

/// The broker of this test.
struct Broker {
    folder: PathBuf,
    ports: [u16; 2],
    process: Child,
}

impl Broker {
    fn start() -> Self {
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = ports.map(|port| port.local_addr().unwrap().port());
        let folder = std::env::temp_dir().join(unique("otel-kafka"));
        Self { process: run(&folder, ports), folder, ports }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.process = run(&self.folder, self.ports);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn run(folder: &PathBuf, ports: [u16; 2]) -> Child {
    let server = setting("KAFKA_SERVER");
    // The broker exits when its standard input is closed, so it does not outlive a killed test.
    let mut command = Command::new(&server);
    command.arg(folder).args(ports.map(|port| port.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("KAFKA_SERVER is {server}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_again_loses_nothing() {
    let recorder = recorder();
    let mut broker = Broker::start();
    let address = broker.address();
    let topic = topic_on(&address, "restart", 1, &[]).await;
    // A killed broker may have written records that it has not confirmed: without idempotence there would be
    // duplicates, with and without instrumentation.
    let mut config = config_of(&address);
    config.set("enable.idempotence", "true").set("message.timeout.ms", "90000");
    config.set("reconnect.backoff.max.ms", "500");
    let producer: FutureProducer = config.create().unwrap();
    let producer = producer.with_options(options(&recorder));
    let consumer: StreamConsumer =
        member_of(&address, "copier").set("reconnect.backoff.max.ms", "500").create().unwrap();
    let consumer = consumer.with_options(options(&recorder));
    consumer.subscribe(&[&topic]).unwrap();

    let send = async |number: i32| {
        let payload = number.to_string();
        let record = FutureRecord::<str, _>::to(&topic).payload(&payload);
        producer.send(record, LONG).await.map(|_| ()).map_err(|(error, _)| error)
    };
    for number in 0..10 {
        send(number).await.unwrap();
    }
    broker.kill();
    // These records wait for the broker.
    let waiting: Vec<_> = (10..20).map(send).collect();
    let waiting = futures_util::future::join_all(waiting);
    let (sent, ()) = futures_util::join!(waiting, async { broker.start_again() });
    assert_eq!(sent, vec![Ok(()); 10]);

    let mut seen = Vec::new();
    while seen.len() < 20 {
        // While the broker is down `recv` returns errors; the consumer reconnects by itself.
        let Ok(message) = consumer.recv().await else { continue };
        let payload = message.process(async |message| Ok::<_, ()>(message.payload().unwrap().to_vec())).await;
        seen.push(String::from_utf8(payload.unwrap()).unwrap());
    }
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    let spans = recorder.spans();
    for name in ["send", "process"] {
        let count = spans.iter().filter(|span| span.name.starts_with(name)).count();
        assert_eq!(count, 20, "{}", recorder.tree());
    }
    assert!(spans.iter().all(|span| error_type(span).is_none()), "{}", recorder.tree());
    recorder.assert_clean();
}
