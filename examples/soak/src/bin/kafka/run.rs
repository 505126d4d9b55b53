//! One run: a broker, a producer, two consumers, and the broker's restart.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::Consumer as _;
use soak::{Arguments, Memory, Tally};
use tokio::sync::Notify;

use crate::broker::Broker;
use crate::consume::Member;
use crate::ledger::{Ledger, add, get};
use crate::plan::LARGEST;
use crate::produce::{self, Sends};
use crate::{PARTITIONS, TOPIC, Telemetry};

/// How long nothing may arrive before the run is given up; a killed broker is back in a fraction of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a rebalance may give back: what a partition's consumer has not committed, and some more.
pub(crate) const UNCOMMITTED: u64 = 6 * 500;

/// In so many messages there is each kind of them.
pub(crate) const TOUCHED: u64 = 10_000;

/// What a run has come to.
pub(crate) struct Finished {
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

/// With our clients.
pub(crate) async fn ours(
    arguments: Arguments,
    producer: &Telemetry,
    consumer: &Telemetry,
) -> Result<Finished, Box<dyn Error>> {
    let run = Run::begin(arguments).await?;
    let first: otel_kafka::StreamConsumer = run.member_of_group()?;
    let first = first.with_options(consumer.options());
    let second: otel_kafka::StreamConsumer = run.member_of_group()?;
    let second = second.with_options(consumer.options());
    first.subscribe(&[TOPIC])?;
    second.subscribe(&[TOPIC])?;
    let members = [
        tokio::spawn(run.member.clone().one_by_one(first)),
        tokio::spawn(run.member.clone().side_by_side(second)),
    ];
    let sender: otel_kafka::FutureProducer = run.producer()?;
    run.drive(sender.with_options(producer.options()), members).await
}

/// With rdkafka's own.
pub(crate) async fn bare(arguments: Arguments) -> Result<Finished, Box<dyn Error>> {
    let run = Run::begin(arguments).await?;
    let first: rdkafka::consumer::StreamConsumer = run.member_of_group()?;
    let second: rdkafka::consumer::StreamConsumer = run.member_of_group()?;
    first.subscribe(&[TOPIC])?;
    second.subscribe(&[TOPIC])?;
    let members =
        [tokio::spawn(run.member.clone().bare(first)), tokio::spawn(run.member.clone().bare(second))];
    let sender: rdkafka::producer::FutureProducer = run.producer()?;
    run.drive(sender, members).await
}

impl Run {
    async fn begin(arguments: Arguments) -> Result<Self, Box<dyn Error>> {
        let broker = Broker::start(TOPIC, PARTITIONS).await?;
        let memory = Arc::new(Memory::new(arguments.requests));
        let (requests, received) = (arguments.requests, AtomicU64::new(0));
        let progress = {
            let memory = Arc::clone(&memory);
            move || {
                let done = add(&received);
                if done.is_multiple_of((requests / 200).max(1)) {
                    let resident = memory.sample(done);
                    if done.is_multiple_of((requests / 10).max(1)) {
                        let resident =
                            resident.map_or_else(String::new, |kib| format!(", resident {kib} KiB"));
                        println!("{done:>9} of {requests}{resident}");
                    }
                }
            }
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
            .set("message.max.bytes", LARGEST.to_string())
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
            // Little of what is fetched lies around, so that memory tells about us.
            .set("fetch.message.max.bytes", "262144")
            .set("queued.max.messages.kbytes", "1024");
        Ok(config.create()?)
    }

    /// Sends everything, restarts the broker on the way, and waits until all has arrived.
    async fn drive<S: Sends>(
        mut self,
        producer: S,
        members: [tokio::task::JoinHandle<()>; 2],
    ) -> Result<Finished, Box<dyn Error>> {
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
        // In the first half, whose peak of memory then has what a restart takes.
        let ledger_at = |count: u64| get(&ledger.arrived) >= count;
        wait(&ledger, || ledger_at(requests * 2 / 5)).await;
        println!("the broker is killed, and started again");
        self.broker.restart()?;
        wait(&ledger, || sending.is_finished() && ledger.lost() == 0).await;
        let took = began.elapsed();
        // What was forgotten is delivered, but its reports may still be on their way.
        wait(&ledger, || producer.in_flight() == 0).await;
        sending.abort();
        self.member.stop.notify_waiters();
        for member in members {
            member.await?;
        }
        let in_flight = u64::try_from(producer.in_flight()).unwrap_or(u64::MAX);
        drop(producer);
        Ok(Finished {
            ledger,
            sent,
            handled: self.member.observed.clone(),
            memory: self.memory.verdict(),
            in_flight,
            took,
        })
    }
}

/// Waits until a condition holds, but not for ever when nothing arrives: what does not hold is for the report to say.
async fn wait(ledger: &Ledger, holds: impl Fn() -> bool) {
    let (mut seen, mut since) = (get(&ledger.arrived), Instant::now());
    while !holds() && since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = get(&ledger.arrived);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}
