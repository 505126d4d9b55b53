//! One run: a server, clients that send and receive, and the server's restart.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream;
use soak::{Arguments, Memory, MessagingTelemetry, Server, Tally, add, wait};
use tokio::task::JoinSet;

use crate::consume::Member;
use crate::ledger::Ledger;
use crate::plan::MAX_SIZE;
use crate::send::{self, Bus};
use crate::{REQUESTS, STORED, STREAM};

/// The messages of the stream that may wait for their acknowledgement: a restart redelivers at most these.
pub(crate) const MAX_PENDING: u64 = 1000;

/// The result of a run.
pub(crate) struct RunResult {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sent: Tally,
    pub(crate) handled: Tally,
    pub(crate) memory: Result<String, String>,
    pub(crate) took: Duration,
    pub(crate) concurrency: u64,
}

struct Run {
    arguments: Arguments,
    server: Server,
    address: String,
    member: Member,
    memory: Arc<Memory>,
}

/// Runs with the clients of otel-nats.
pub(crate) async fn instrumented(
    arguments: Arguments,
    sender: &MessagingTelemetry,
    receiver: &MessagingTelemetry,
) -> Result<RunResult, Box<dyn Error>> {
    let run = Run::start("ours", arguments).await?;
    let consumer = run.consumer().await?;
    let client = otel_nats::connect(&run.address).await?.with_options(receiver.options());
    let requests = client.subscribe(REQUESTS).await?;
    client.flush().await?;
    let mut members = JoinSet::new();
    members.spawn(run.member.clone().answer(client.clone(), requests));
    members.spawn(run.member.clone().consume(otel_nats::jetstream::new(client), consumer));
    let client = otel_nats::connect(&run.address).await?.with_options(sender.options());
    run.drive(send::Ours(client.clone(), otel_nats::jetstream::new(client)), members).await
}

/// Runs with the clients of async-nats.
pub(crate) async fn plain(arguments: Arguments) -> Result<RunResult, Box<dyn Error>> {
    let run = Run::start("bare", arguments).await?;
    let consumer = run.consumer().await?;
    let client = async_nats::connect(&run.address).await?;
    let requests = client.subscribe(REQUESTS).await?;
    client.flush().await?;
    let mut members = JoinSet::new();
    members.spawn(run.member.clone().answer_bare(client, requests));
    members.spawn(run.member.clone().consume_bare(consumer));
    let client = async_nats::connect(&run.address).await?;
    run.drive(send::Bare(client.clone(), async_nats::jetstream::new(client)), members).await
}

impl Run {
    async fn start(name: &str, arguments: Arguments) -> Result<Self, Box<dyn Error>> {
        let (server, address) = soak::start_nats(name, MAX_SIZE).await?;
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

    /// Creates the stream and its consumer.
    async fn consumer(&self) -> Result<PullConsumer, Box<dyn Error>> {
        let context = async_nats::jetstream::new(async_nats::connect(&self.address).await?);
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![STORED.to_owned()],
            ..stream::Config::default()
        };
        let stream = context.create_stream(config).await?;
        let config = pull::Config {
            durable_name: Some("till".to_owned()),
            max_ack_pending: i64::try_from(MAX_PENDING)?,
            ack_wait: Duration::from_secs(20),
            ..pull::Config::default()
        };
        Ok(stream.create_consumer(config).await?)
    }

    /// Sends all messages, restarts the server meanwhile, and waits until all messages have arrived.
    async fn drive<B: Bus>(mut self, bus: B, mut members: JoinSet<()>) -> Result<RunResult, Box<dyn Error>> {
        let Arguments { requests, seed, concurrency, .. } = self.arguments;
        let began = Instant::now();
        let ledger = Arc::clone(&self.member.ledger);
        let sent = Tally::default();
        let sending = {
            let (ledger, sent) = (Arc::clone(&ledger), sent.clone());
            tokio::spawn(async move { send::all(&bus, (seed, requests, concurrency), &ledger, &sent).await })
        };
        // The restart is in the first half, so that its memory is part of the first peak.
        wait(|| ledger.received(), || ledger.received() >= requests * 2 / 5).await;
        println!("killing and restarting the server");
        self.server.restart()?;
        wait(|| ledger.received(), || sending.is_finished() && ledger.lost() == 0).await;
        let took = began.elapsed();
        // The last message may still be handled.
        wait(|| ledger.received(), || self.member.is_idle()).await;
        sending.abort();
        members.shutdown().await;
        Ok(RunResult {
            ledger,
            sent,
            handled: self.member.observed.clone(),
            memory: self.memory.verdict(),
            took,
            concurrency,
        })
    }
}
