//! The NATS soak: requests over core NATS and messages over JetStream, on a server that is killed and restarted, with
//! malformed headers among the messages. The checks at the end account for every message and compare the run with async-nats
//! alone.

#![expect(clippy::print_stdout, reason = "a soak prints to its terminal")]

mod consume;
mod ledger;
mod plan;
mod run;
mod send;

use std::error::Error;
use std::process::ExitCode;

use soak::{Arguments, MessagingTelemetry, Report, Side, equal, get};

use crate::run::{MAX_PENDING, RunResult};

const STREAM: &str = "ORDERS";
const STORED: &str = "orders";
const REQUESTS: &str = "prices";

#[tokio::main]
async fn main() -> ExitCode {
    soak::run("nats", ("--messages", 1_000_000, 256), soak).await
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    println!("soak nats: {requests} messages, {concurrency} at a time, seed {seed}");
    let (sender, receiver) = (MessagingTelemetry::default(), MessagingTelemetry::default());
    let ours = run::instrumented(arguments, &sender, &receiver).await?;
    println!("repeating the run with async-nats alone");
    let plain = run::plain(arguments).await?;

    let mut report = Report::default();
    report.side(&Side::new("senders", &ours.sent, sender.spans.counts(), &sender.durations(), None));
    report.side(&Side::new("receivers", &ours.handled, receiver.spans.counts(), &receiver.durations(), None));
    compare(&mut report, &ours, &plain);
    let ledger = &ours.ledger;
    let [accepted, rejected, answered, failed] =
        [&ledger.accepted, &ledger.rejected, &ledger.answered, &ledger.failed].map(get);
    report.check(equal("calls made", requests, accepted + rejected + answered + failed));
    let attempts: u64 = ours.sent.counts().values().sum();
    let counted = sender.counter("messaging.client.sent.messages");
    report.check(equal("messages counted as sent, including attempts that failed", attempts, counted));
    let counted = receiver.counter("messaging.client.consumed.messages");
    report.check(equal("messages counted as received", ledger.received(), counted));
    let without_context = sender.counter("messaging.nats.context.left_out");
    report.check(equal("messages without space for context", get(&ledger.full_sent), without_context));
    let parents = receiver.spans.counts().with_remote_parent();
    let expected = ledger.received() - get(&ledger.full_received);
    report.check(equal("process spans with a remote parent, of all other messages", expected, parents));
    report.check(ours.memory.clone());
    for (name, run) in [("otel-nats", &ours), ("async-nats alone", &plain)] {
        let seconds = run.took.as_secs_f64();
        report
            .check(Ok(format!("{name}: {seconds:.1} s, {:.0} messages a second", requests as f64 / seconds)));
    }
    Ok(report)
}

/// Checks that the instrumented run is not worse than the run with async-nats alone.
fn compare(report: &mut Report, ours: &RunResult, plain: &RunResult) {
    let (mine, theirs) = (&ours.ledger, &plain.ledger);
    let mut line = |name: &str, mine: u64, theirs: u64, max: u64| {
        let text = format!("{name}: {mine}, with async-nats alone {theirs}");
        report.check(if mine <= max { Ok(text) } else { Err(text) });
    };
    line("messages changed", get(&mine.changed), get(&theirs.changed), 0);
    line("messages lost", mine.lost(), theirs.lost(), theirs.lost());
    let [duplicated, plain_duplicated] = [mine, theirs].map(|ledger| get(&ledger.duplicated));
    line("messages stored or requested twice", duplicated, plain_duplicated, plain_duplicated);
    let [redelivered, plain_redelivered] = [mine, theirs].map(|ledger| get(&ledger.redelivered));
    // The restart loses the acknowledgements that are on their way.
    line("messages redelivered", redelivered, plain_redelivered, plain_redelivered.max(MAX_PENDING));
    line("messages rejected", get(&mine.rejected), get(&theirs.rejected), get(&theirs.rejected));
    // Requests that the restart has cut off: at most those in flight, and those sent until both sides are connected again.
    let [failed, plain_failed] = [mine, theirs].map(|ledger| get(&ledger.failed));
    line("requests without a reply", failed, plain_failed, plain_failed.max(ours.concurrency) * 20);
}
