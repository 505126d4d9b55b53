//! The Kafka soak: a producer and a group of two consumers on a broker that is killed and started again, with hostile
//! headers among the messages. At its end everything must be accounted for, and nothing be worse than with rdkafka
//! alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a soak talks to its terminal")]

mod broker;
mod consume;
mod ledger;
mod plan;
mod produce;
mod run;

use std::error::Error;
use std::process::ExitCode;

use otel_testing::{Metric, Recorder};
use soak::{Arguments, CountingTracerProvider, Report, Side};

use crate::ledger::get;
use crate::run::{Finished, TOUCHED};

/// The one topic.
const TOPIC: &str = "orders";
const PARTITIONS: i32 = 6;

/// What one side records into; see the soak of HTTP.
#[derive(Default)]
struct Telemetry {
    spans: CountingTracerProvider,
    metrics: Recorder,
}

impl Telemetry {
    fn options(&self) -> otel_kafka::Options {
        otel_kafka::Options::new()
            .with_tracer_provider(&self.spans)
            .with_meter_provider(self.metrics.meter_provider())
    }

    fn durations(&self) -> [Metric; 2] {
        ["messaging.client.operation.duration", "messaging.process.duration"]
            .map(|name| self.metrics.metric(name))
    }

    /// What the counter of that name has counted.
    fn counted(&self, name: &str) -> u64 {
        self.metrics.metric(name).points().iter().map(|point| point.sum() as u64).sum()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(("--messages", 1_000_000, 512), std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::from(2);
        }
    };
    match soak(arguments).await {
        Ok(report) => {
            println!("{}", report.text());
            let failures = report.failures();
            if failures.is_empty() {
                println!("soak kafka: everything is accounted for");
                return ExitCode::SUCCESS;
            }
            eprintln!("soak kafka: {} checks failed:", failures.len());
            failures.iter().for_each(|failure| eprintln!("{failure}"));
        }
        Err(error) => eprintln!("soak kafka: {error}"),
    }
    ExitCode::FAILURE
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    println!("soak kafka: {requests} messages, {concurrency} at a time, seed {seed}");
    otel_propagation::set_global(otel_propagation::CompositePropagator::default());
    let (producer, consumer) = (Telemetry::default(), Telemetry::default());
    let ours = run::ours(arguments, &producer, &consumer).await?;
    println!("the same with rdkafka alone");
    let bare = run::bare(arguments).await?;

    let mut report = Report::default();
    report.side(&Side::new("producer", &ours.sent, producer.spans.counts(), &producer.durations(), None));
    report.side(&Side::new("consumers", &ours.handled, consumer.spans.counts(), &consumer.durations(), None));
    compare(&mut report, &ours, &bare);
    let ledger = &ours.ledger;
    let (accepted, refused) = (get(&ledger.accepted), get(&ledger.refused));
    let received = get(&ledger.arrived) + get(&ledger.again) + get(&ledger.doubled);
    let counted = producer.counted("messaging.client.sent.messages");
    report.check(all("messages counted as sent, refused ones included", accepted + refused, counted));
    report.check(all("calls made", requests, accepted + refused));
    let counted = consumer.counted("messaging.client.consumed.messages");
    report.check(all("messages counted as received", received, counted));
    let full = get(&ledger.full);
    let left_out = producer.counted("messaging.kafka.context.left_out");
    // One that is received again was left out once.
    let text =
        format!("messages with no room for context that went out bare: {left_out}, and {full} arrived");
    report.check(if left_out <= full && (left_out > 0 || requests < TOUCHED) { Ok(text) } else { Err(text) });
    let parents = consumer.spans.counts().with_remote_parent();
    report.check(all(
        "process spans whose parent came in the message, of all others",
        received - full,
        parents,
    ));
    report.check(ours.memory.clone());
    for (name, run) in [("otel-kafka", &ours), ("rdkafka alone", &bare)] {
        let seconds = run.took.as_secs_f64();
        report
            .check(Ok(format!("{name}: {seconds:.1} s, {:.0} messages a second", requests as f64 / seconds)));
    }
    Ok(report)
}

/// Nothing may be worse than with rdkafka alone.
fn compare(report: &mut Report, ours: &Finished, bare: &Finished) {
    let (mine, theirs) = (&ours.ledger, &bare.ledger);
    let mut line = |what: &str, mine: u64, theirs: u64, most: u64| {
        let text = format!("{what}: {mine}, with rdkafka alone {theirs}");
        report.check(if mine <= most { Ok(text) } else { Err(text) });
    };
    line("messages changed", get(&mine.changed), get(&theirs.changed), 0);
    line("messages lost", mine.lost(), theirs.lost(), theirs.lost());
    let [doubled, bare_doubled] = [mine, theirs].map(|ledger| get(&ledger.doubled));
    line("messages written twice", doubled, bare_doubled, bare_doubled);
    let [again, bare_again] = [mine, theirs].map(|ledger| get(&ledger.again));
    // Each rebalance gives back what is not committed yet.
    line("messages delivered again after a rebalance", again, bare_again, bare_again.max(run::UNCOMMITTED));
    line("messages refused", get(&mine.refused), get(&theirs.refused), get(&theirs.refused));
    line("messages in flight", ours.in_flight, bare.in_flight, 0);
}

fn all(what: &str, expected: u64, found: u64) -> Result<String, String> {
    let text = format!("{what}: {found} of {expected}");
    if found == expected { Ok(text) } else { Err(text) }
}
