//! A full queue: the time until all messages are delivered, if more are sent at once than the queue holds.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rdkafka::util::Timeout;

use crate::cell::{self, Candidate, by_hand, record};

const QUEUE: usize = 10;
const MESSAGES: usize = 200;

pub(crate) fn measure(candidate: Candidate) {
    let mut config = cell::cluster();
    config.set("queue.buffering.max.messages", QUEUE.to_string()).set("linger.ms", "0");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    let took = runtime.block_on(async {
        match candidate {
            Candidate::Bare => {
                let producer: rdkafka::producer::FutureProducer =
                    config.create().expect("the configuration is right");
                let send = || async {
                    let sent = producer.send(record().headers(by_hand(true)), Timeout::Never).await;
                    sent.map(drop).map_err(|(error, _)| error)
                };
                timed(send).await
            }
            _ => {
                let producer: otel_kafka::FutureProducer =
                    config.create().expect("the configuration is right");
                let send = || async {
                    let sent = producer.send(record(), Timeout::Never).await;
                    sent.map(drop).map_err(|(error, _)| error)
                };
                timed(send).await
            }
        }
    });
    println!("allocations 0");
    println!("nanoseconds {}", took.as_nanos());
}

async fn timed<F>(send: impl Fn() -> F) -> Duration
where
    F: Future<Output = rdkafka::error::KafkaResult<()>>,
{
    // The first message waits for the connection.
    send().await.expect("the message is delivered");
    let started = Instant::now();
    for sent in join_all((0..MESSAGES).map(|_| send())).await {
        sent.expect("the message is delivered");
    }
    started.elapsed()
}
