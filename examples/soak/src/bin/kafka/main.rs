//! The Kafka soak: a producer and a group of two consumers on a broker that is killed and restarted, with malformed
//! headers among the messages. The checks at the end account for every message and compare the run with rdkafka alone.

#![expect(clippy::print_stdout, reason = "a soak prints to its terminal")]

mod consume;
mod ledger;
mod plan;
mod produce;
mod run;

use std::error::Error;
use std::process::ExitCode;

use soak::{Arguments, MessagingTelemetry, Report, Side, equal, get};

use crate::run::{MIN_COVERAGE, RunResult};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 6;

#[tokio::main]
async fn main() -> ExitCode {
    soak::run("kafka", ("--messages", 1_000_000, 512), soak).await
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    println!("soak kafka: {requests} messages, {concurrency} at a time, seed {seed}");
    let (producer, consumer) = (MessagingTelemetry::default(), MessagingTelemetry::default());
    let ours = run::instrumented(arguments, &producer, &consumer).await?;
    println!("repeating the run with rdkafka alone");
    let plain = run::plain(arguments).await?;

    let mut report = Report::default();
    report.side(&Side::new("producer", &ours.sent, producer.spans.counts(), &producer.durations(), None));
    report.side(&Side::new("consumers", &ours.handled, consumer.spans.counts(), &consumer.durations(), None));
    compare(&mut report, &ours, &plain);
    let ledger = &ours.ledger;
    let (accepted, rejected) = (get(&ledger.accepted), get(&ledger.rejected));
    let received = get(&ledger.arrived) + get(&ledger.redelivered) + get(&ledger.duplicated);
    let counted = producer.counter("messaging.client.sent.messages");
    report.check(equal("messages counted as sent, including rejected ones", accepted + rejected, counted));
    report.check(equal("calls made", requests, accepted + rejected));
    let counted = consumer.counter("messaging.client.consumed.messages");
    report.check(equal("messages counted as received", received, counted));
    let full = get(&ledger.full);
    let without_context = producer.counter("messaging.kafka.context.left_out");
    // A redelivered message was sent once, so `full` may be larger.
    let text =
        format!("messages without space for context: sent without it {without_context}, received {full}");
    report.check(if without_context <= full && (without_context > 0 || requests < MIN_COVERAGE) {
        Ok(text)
    } else {
        Err(text)
    });
    let parents = consumer.spans.counts().with_remote_parent();
    report.check(equal(
        "process spans with a remote parent, of all other messages",
        received - full,
        parents,
    ));
    report.check(ours.memory.clone());
    for (name, run) in [("otel-kafka", &ours), ("rdkafka alone", &plain)] {
        let seconds = run.took.as_secs_f64();
        report
            .check(Ok(format!("{name}: {seconds:.1} s, {:.0} messages a second", requests as f64 / seconds)));
    }
    Ok(report)
}

/// Checks that the instrumented run is not worse than the run with rdkafka alone.
fn compare(report: &mut Report, ours: &RunResult, plain: &RunResult) {
    let (mine, theirs) = (&ours.ledger, &plain.ledger);
    let mut line = |name: &str, mine: u64, theirs: u64, max: u64| {
        let text = format!("{name}: {mine}, with rdkafka alone {theirs}");
        report.check(if mine <= max { Ok(text) } else { Err(text) });
    };
    line("messages changed", get(&mine.changed), get(&theirs.changed), 0);
    line("messages lost", mine.lost(), theirs.lost(), theirs.lost());
    let [duplicated, plain_duplicated] = [mine, theirs].map(|ledger| get(&ledger.duplicated));
    line("messages written twice", duplicated, plain_duplicated, plain_duplicated);
    let [redelivered, plain_redelivered] = [mine, theirs].map(|ledger| get(&ledger.redelivered));
    // A rebalance redelivers the uncommitted messages.
    let max = plain_redelivered.max(run::MAX_UNCOMMITTED);
    line("messages redelivered after a rebalance", redelivered, plain_redelivered, max);
    line("messages rejected", get(&mine.rejected), get(&theirs.rejected), get(&theirs.rejected));
    line("messages in flight", ours.in_flight, plain.in_flight, 0);
}
