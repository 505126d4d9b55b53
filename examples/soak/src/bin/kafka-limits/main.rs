//! The soak of topics with a limit: a transactional, a gapless and an idempotent producer send records of which some are as
//! large as their topic allows. The checks at the end compare each topic with what was sent, and with a run of rdkafka
//! alone.

#![expect(clippy::print_stdout, reason = "a soak prints to its terminal")]

mod clients;
mod plan;
mod run;

use std::error::Error;
use std::process::ExitCode;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use soak::{Arguments, Broker, Class, MessagingTelemetry, Report, Side, Tally};

use crate::clients::Kind;
use crate::plan::LIMIT;
use crate::run::{Comparison, read, read_plain, reader, send};

/// The number of records above which each kind of record occurs.
const MIN_COVERAGE: u64 = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    soak::run("kafka-limits", ("--messages", 10_000, 200), soak).await
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    println!(
        "soak kafka-limits: {requests} messages to each topic, up to {concurrency} at a time, seed {seed}"
    );
    let names = Kind::ALL.map(|kind| (kind, kind.name(), format!("{}-plain", kind.name())));
    let limit = LIMIT.to_string();
    let topics = names.iter().flat_map(|(_, ours, plain)| [*ours, plain]);
    let topics: Vec<_> = topics
        .map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", &limit))
        .collect();
    let broker = Broker::start(&topics).await?;
    let mut report = Report::default();
    for (kind, topic, plain_topic) in &names {
        println!("{}", kind.name());
        let address = broker.address();
        let ours = instrumented(&mut report, (*kind, topic), &address, arguments).await?;
        let plain = plain((*kind, plain_topic), &address, arguments).await?;
        for (name, comparison) in [("otel-kafka", ours), ("rdkafka alone", plain)] {
            let text = format!("  {name}: {comparison:?}");
            let passed = comparison.is_exact() && comparison.read == plain.read;
            report.check(if passed { Ok(text) } else { Err(text) });
        }
    }
    Ok(report)
}

/// Runs with the clients of otel-kafka, and checks their telemetry.
async fn instrumented(
    report: &mut Report,
    (kind, topic): (Kind, &str),
    address: &str,
    arguments: Arguments,
) -> Result<Comparison, Box<dyn Error>> {
    let (producing, consuming) = (MessagingTelemetry::default(), MessagingTelemetry::default());
    let producer: otel_kafka::FutureProducer = kind.config(address, topic).create()?;
    let producer = producer.with_options(producing.options());
    let producer = if kind == Kind::Transactional {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", address).create()?;
        producer.with_topic_limits(admin).with_context_only_where_it_fits()
    } else {
        producer.with_topic_limit(topic, LIMIT)
    };
    let sent = Tally::default();
    let delivered = send(&producer, (kind, topic), arguments, &sent).await;
    drop(producer);
    let consumer = reader!(otel_kafka::BaseConsumer, address, topic).with_options(consuming.options());
    let records = read(&consumer, arguments.seed)?;
    drop(consumer);

    let name = kind.name();
    let spans = producing.spans.counts();
    report.side(&Side::new(&format!("{name} producer"), &sent, spans, &producing.durations(), None));
    let processed = Tally::default();
    let mut class = Class::default();
    class.operation = Some("process".to_owned());
    processed.add_many(class, records.len() as u64);
    let spans = consuming.spans.counts();
    report.side(&Side::new("consumer", &processed, spans, &consuming.durations(), None));
    let with_context = records.iter().filter(|record| record.has_context).count() as u64;
    let without = records.len() as u64 - with_context;
    let left_out = producing.counter("messaging.kafka.context.left_out");
    let text = format!(
        "  with context {with_context}, without {without}; counted as sent without {left_out}; remote parents {}",
        spans.with_remote_parent()
    );
    // The records of aborted transactions are counted, and not read.
    let is_counted = if kind == Kind::Transactional { left_out >= without } else { left_out == without };
    let has_both = with_context > without && without > 0 || arguments.requests < MIN_COVERAGE;
    let passed = is_counted && has_both && spans.with_remote_parent() == with_context;
    report.check(if passed { Ok(text) } else { Err(text) });
    Ok(Comparison::new(&delivered, &records))
}

/// Runs with the clients of rdkafka.
async fn plain(
    (kind, topic): (Kind, &str),
    address: &str,
    arguments: Arguments,
) -> Result<Comparison, Box<dyn Error>> {
    let producer: rdkafka::producer::FutureProducer = kind.config(address, topic).create()?;
    let delivered = send(&producer, (kind, topic), arguments, &Tally::default()).await;
    Ok(Comparison::new(&delivered, &read_plain(address, topic, arguments.seed)?))
}
