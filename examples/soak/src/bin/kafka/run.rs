//! One run: a broker, a producer, two consumers, and the broker's restart.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::Consumer as _;
use soak::{Arguments, Broker, Memory, MessagingTelemetry, Tally, add, get, wait};
use tokio::sync::Notify;

use crate::consume::Member;
use crate::ledger::Ledger;
use crate::plan::MAX_SIZE;
use crate::produce::{self, Producer};
use crate::{PARTITIONS, TOPIC};

/// The maximum number of messages that a rebalance redelivers: the uncommitted ones of all partitions, with a margin.
pub(crate) const MAX_UNCOMMITTED: u64 = 6 * 500;

/// The number of messages above which each kind of message occurs.
pub(crate) const MIN_COVERAGE: u64 = 10_000;

/// The result of a run.
pub(crate) struct RunResult {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sent: Tally,
    pub(crate) handled: Tally,
    pub(crate) memory: Result<String, String>,
    pub(crate) in_flight: u64,
    pub(crate) took: Duration,
}

struct Run {
    arguments: Arguments,
    broker: Broker,
    member: Member,
    memory: Arc<Memory>,
}

/// Runs with the clients of otel-kafka.
pub(crate) async fn instrumented(
    arguments: Arguments,
    producer: &MessagingTelemetry,
    consumer: &MessagingTelemetry,
) -> Result<RunResult, Box<dyn Error>> {
    let run = Run::start(arguments).await?;
    let first: otel_kafka::StreamConsumer = run.member_of_group()?;
    let first = first.with_options(consumer.options());
    let second: otel_kafka::StreamConsumer = run.member_of_group()?;
    let second = second.with_options(consumer.options());
    first.subscribe(&[TOPIC])?;
    second.subscribe(&[TOPIC])?;
    let members = [
        tokio::spawn(run.member.clone().run_sequential(first)),
        tokio::spawn(run.member.clone().run_concurrent(second)),
    ];
    let sender: otel_kafka::FutureProducer = run.producer()?;
    run.drive(sender.with_options(producer.options()), members).await
}

/// Runs with the clients of rdkafka.
pub(crate) async fn plain(arguments: Arguments) -> Result<RunResult, Box<dyn Error>> {
    let run = Run::start(arguments).await?;
    let first: rdkafka::consumer::StreamConsumer = run.member_of_group()?;
    let second: rdkafka::consumer::StreamConsumer = run.member_of_group()?;
    first.subscribe(&[TOPIC])?;
    second.subscribe(&[TOPIC])?;
    let members = [
        tokio::spawn(run.member.clone().run_plain(first)),
        tokio::spawn(run.member.clone().run_plain(second)),
    ];
    let sender: rdkafka::producer::FutureProducer = run.producer()?;
    run.drive(sender, members).await
}

impl Run {
    async fn start(arguments: Arguments) -> Result<Self, Box<dyn Error>> {
        let broker = Broker::start(&[NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1))]).await?;
        let memory = Arc::new(Memory::new(arguments.requests));
        let (requests, received) = (arguments.requests, AtomicU64::new(0));
        let progress = {
            let memory = Arc::clone(&memory);
            move || memory.progress(add(&received))
        };
        let member = Member {
            ledger: Arc::new(Ledger::new(arguments.seed, requests)),
            observed: Tally::default(),
            seed: arguments.seed,
            stop: Arc::new(Notify::new()),
            progress: Arc::new(progress),
        };
        Ok(Self { arguments, broker, member, memory })
    }

    fn producer<T: FromClientConfig>(&self) -> Result<T, Box<dyn Error>> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.broker.address())
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("message.max.bytes", MAX_SIZE.to_string())
            .set("reconnect.backoff.max.ms", "1000");
        Ok(config.create()?)
    }

    fn member_of_group<T: FromClientConfig>(&self) -> Result<T, Box<dyn Error>> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.broker.address())
            .set("group.id", "till")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "1000")
            // Small fetch queues keep the memory check sensitive to the instrumentation.
            .set("fetch.message.max.bytes", "262144")
            .set("queued.max.messages.kbytes", "1024");
        Ok(config.create()?)
    }

    /// Sends all messages, restarts the broker meanwhile, and waits until all messages have arrived.
    async fn drive<P: Producer>(
        mut self,
        producer: P,
        members: [tokio::task::JoinHandle<()>; 2],
    ) -> Result<RunResult, Box<dyn Error>> {
        let Arguments { requests, seed, concurrency, .. } = self.arguments;
        let began = Instant::now();
        let ledger = Arc::clone(&self.member.ledger);
        let sent = Tally::default();
        let sending = {
            let (producer, ledger, sent) = (producer.clone(), Arc::clone(&ledger), sent.clone());
            tokio::spawn(async move {
                produce::all(&producer, (seed, requests, concurrency), &ledger, &sent).await;
            })
        };
        // The restart is in the first half, so that its memory is part of the first peak.
        let ledger_at = |count: u64| get(&ledger.arrived) >= count;
        wait(|| get(&ledger.arrived), || ledger_at(requests * 2 / 5)).await;
        println!("killing and restarting the broker");
        self.broker.restart()?;
        wait(|| get(&ledger.arrived), || sending.is_finished() && ledger.lost() == 0).await;
        let took = began.elapsed();
        // Delivery reports of unawaited messages may arrive after the messages.
        wait(|| get(&ledger.arrived), || producer.in_flight() == 0).await;
        sending.abort();
        self.member.stop.notify_waiters();
        for member in members {
            member.await?;
        }
        let in_flight = u64::try_from(producer.in_flight()).unwrap_or(u64::MAX);
        drop(producer);
        Ok(RunResult {
            ledger,
            sent,
            handled: self.member.observed.clone(),
            memory: self.memory.verdict(),
            in_flight,
            took,
        })
    }
}
