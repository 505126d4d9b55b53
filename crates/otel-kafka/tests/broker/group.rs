//! A group whose member is killed: the other member takes over, and no message is lost.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use otel_kafka::StreamConsumer;
use otel_testing::Recorder;
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::Notify;

use crate::support::{LONG, config, error_type, member_of, options, recorder, setting, topic, until};

/// Names the topic for a member that runs as a separate process, started from this test binary.
const MEMBER: &str = "OTEL_KAFKA_TEST_MEMBER";

fn member(topic: &str, recorder: &Recorder) -> StreamConsumer {
    let mut config = member_of(&setting("KAFKA_BROKERS"), topic);
    config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "500");
    let member: StreamConsumer = config.create().unwrap();
    member.subscribe(&[topic]).unwrap();
    member.with_options(options(recorder))
}

#[tokio::test]
async fn another_member_takes_over_what_a_killed_one_had() {
    if let Ok(topic) = std::env::var(MEMBER) {
        return be_killed(&topic).await;
    }
    let (recorder, topic) = (recorder(), topic("group", 2, &[]).await);
    let first = member(&topic, &recorder);
    let name = "group::another_member_takes_over_what_a_killed_one_had";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(MEMBER, &topic)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A member stays in the group only while it is polled.
    tokio::select! {
        _ = first.recv() => panic!("there is no message"),
        () = until("both members", || first.assignment().is_ok_and(|list| list.count() == 1)) => {}
    }
    let producer: FutureProducer = config().create().unwrap();
    for number in 0..10 {
        let payload = number.to_string();
        let record = FutureRecord::<str, _>::to(&topic).payload(&payload).partition(number % 2);
        producer.send(record, LONG).await.unwrap();
    }
    // The killed member neither commits nor leaves the group.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("it is processing")));
    child.kill().unwrap();
    child.wait().unwrap();

    let (seen, all) = (Mutex::new(BTreeSet::new()), Notify::new());
    let running = first.for_each_concurrent(4, all.notified(), async |message| {
        first.commit_message(&message, CommitMode::Sync)?;
        let mut seen = seen.lock().unwrap();
        seen.insert(String::from_utf8_lossy(message.payload().unwrap()).into_owned());
        if seen.len() == 10 {
            all.notify_one();
        }
        Ok::<(), KafkaError>(())
    });
    tokio::time::timeout(LONG, running).await.unwrap().unwrap();
    assert!(recorder.spans().iter().all(|span| error_type(span).is_none()), "{}", recorder.tree());
    let rebalances = recorder.metric("messaging.kafka.rebalances");
    let assigned = rebalances.with("messaging.kafka.rebalance.type", "assign").sum();
    assert!(assigned >= 2.0, "{}", recorder.metrics());
    recorder.assert_clean();
}

/// Runs the member that is killed while it processes its first message.
async fn be_killed(topic: &str) {
    let recorder = recorder();
    let member = member(topic, &recorder);
    let message = member.recv().await.unwrap();
    message
        .process(async |_| {
            let mut out = std::io::stdout();
            out.write_all(b"it is processing\n").unwrap();
            std::future::pending::<()>().await;
        })
        .await;
}
