//! One run: a broker, channels that send and receive, and the broker's restart.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use lapin::ConnectionProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use soak::{Arguments, Memory, MessagingTelemetry, Server, Tally, add, wait};
use tokio::task::JoinSet;

use crate::consume::{CONSUMERS, Member};
use crate::ledger::Ledger;
use crate::link::{Bare, Link, Opener, Ours};
use crate::{QUEUE, send};

/// The channels that send.
const SENDERS: usize = 4;

/// The result of a run.
pub(crate) struct RunResult {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sent: Tally,
    pub(crate) handled: Tally,
    pub(crate) memory: Result<String, String>,
    pub(crate) took: Duration,
}

struct Run {
    arguments: Arguments,
    server: Server,
    address: String,
    member: Member,
    memory: Arc<Memory>,
}

/// Runs with the channels of otel-amqp.
pub(crate) async fn instrumented(
    arguments: Arguments,
    sender: &MessagingTelemetry,
    receiver: &MessagingTelemetry,
) -> Result<RunResult, Box<dyn Error>> {
    let run = Run::start("ours", arguments).await?;
    let [sender, receiver] = [sender, receiver].map(|side| Ours(run.address.clone(), side.options()));
    let mut members = JoinSet::new();
    for _ in 0..CONSUMERS {
        members.spawn(run.member.clone().consume(receiver.clone()));
    }
    run.drive(sender, members).await
}

/// Runs with the channels of lapin.
pub(crate) async fn plain(arguments: Arguments) -> Result<RunResult, Box<dyn Error>> {
    let run = Run::start("bare", arguments).await?;
    let opener = Bare(run.address.clone());
    let mut members = JoinSet::new();
    for _ in 0..CONSUMERS {
        members.spawn(run.member.clone().consume_bare(opener.clone()));
    }
    run.drive(opener, members).await
}

impl Run {
    async fn start(name: &str, arguments: Arguments) -> Result<Self, Box<dyn Error>> {
        let (server, address) = soak::start_rabbitmq(name).await?;
        declare(&address).await?;
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
            progress: Arc::new(progress),
        };
        Ok(Self { arguments, server, address, member, memory })
    }

    /// Sends all messages, restarts the broker meanwhile, and waits until all messages have arrived.
    async fn drive<O: Opener>(
        mut self,
        opener: O,
        mut members: JoinSet<()>,
    ) -> Result<RunResult, Box<dyn Error>> {
        let mut links = Vec::new();
        for _ in 0..SENDERS {
            links.push(Link::new(opener.clone()).await);
        }
        let Arguments { requests, seed, concurrency, .. } = self.arguments;
        let began = Instant::now();
        let ledger = Arc::clone(&self.member.ledger);
        let sent = Tally::default();
        let sending = {
            let (ledger, sent) = (Arc::clone(&ledger), sent.clone());
            tokio::spawn(async move {
                send::all(&links, (seed, requests, concurrency), &ledger, &sent).await;
                // Open until the end of the run, because of the confirmations that are not awaited.
                links
            })
        };
        // The restart is in the first half, so that its memory is part of the first peak.
        wait(|| ledger.received(), || ledger.received() >= requests * 2 / 5).await;
        println!("killing and restarting the broker");
        self.server.restart()?;
        wait(|| ledger.received(), || sending.is_finished() && ledger.lost() == 0).await;
        let took = began.elapsed();
        // The last messages may still be handled.
        wait(|| ledger.received(), || self.member.is_idle()).await;
        sending.abort();
        members.shutdown().await;
        Ok(RunResult {
            ledger,
            sent,
            handled: self.member.observed.clone(),
            memory: self.memory.verdict(),
            took,
        })
    }
}

/// Declares a queue that confirms a message when it is stored, and keeps the settlements over a restart.
async fn declare(address: &str) -> Result<(), Box<dyn Error>> {
    let connection = lapin::Connection::connect(address, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, arguments).await?;
    Ok(connection.close(200, "".into()).await?)
}
