//! The RabbitMQ soak: messages through a quorum queue of a broker that is killed and restarted, with hostile header tables
//! among them. The checks at the end account for every message and compare the run with lapin alone.

#![expect(clippy::print_stdout, reason = "a soak prints to its terminal")]

mod consume;
mod ledger;
mod link;
mod plan;
mod run;
mod send;

use std::error::Error;
use std::process::ExitCode;

use soak::{Arguments, MessagingTelemetry, Report, Side, equal, get};

use crate::consume::MAX_UNACKED;
use crate::run::RunResult;

const QUEUE: &str = "orders";

#[tokio::main]
async fn main() -> ExitCode {
    soak::run("amqp", ("--messages", 1_000_000, 256), soak).await
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests, seed, concurrency, .. } = arguments;
    println!("soak amqp: {requests} messages, {concurrency} at a time, seed {seed}");
    let (sender, receiver) = (MessagingTelemetry::default(), MessagingTelemetry::default());
    let ours = run::instrumented(arguments, &sender, &receiver).await?;
    println!("repeating the run with lapin alone");
    let plain = run::plain(arguments).await?;

    let mut report = Report::default();
    report.side(&Side::new("senders", &ours.sent, sender.spans.counts(), &sender.durations(), None));
    report.side(&Side::new("consumers", &ours.handled, receiver.spans.counts(), &receiver.durations(), None));
    for (name, run) in [("otel-amqp", &ours), ("lapin alone", &plain)] {
        check(&mut report, name, requests, run);
    }
    let ledger = &ours.ledger;
    let attempts = ours.sent.total(&["publish"]);
    let counted = sender.counter("messaging.client.sent.messages");
    report.check(equal("messages counted as sent, including attempts that failed", attempts, counted));
    let counted = receiver.counter("messaging.client.consumed.messages");
    report.check(equal("messages counted as received", ledger.received(), counted));
    let without_context = sender.counter("messaging.rabbitmq.context.left_out");
    report.check(equal("messages without space for context", get(&ledger.full_sent), without_context));
    let parents = receiver.spans.counts().with_remote_parent();
    let expected = ledger.received() - get(&ledger.full_received);
    report.check(equal("process spans with a remote parent, of all other messages", expected, parents));
    report.check(ours.memory.clone());
    for (name, run) in [("otel-amqp", &ours), ("lapin alone", &plain)] {
        let seconds = run.took.as_secs_f64();
        report
            .check(Ok(format!("{name}: {seconds:.1} s, {:.0} messages a second", requests as f64 / seconds)));
    }
    Ok(report)
}

/// Checks the messages of a run. Both runs have to pass: no limit is that of the other run.
fn check(report: &mut Report, name: &str, messages: u64, run: &RunResult) {
    let ledger = &run.ledger;
    let mut at_most = |text: &str, count: u64, max: u64| {
        let text = format!("{name}: messages {text}: {count}, at most {max}");
        report.check(if count <= max { Ok(text) } else { Err(text) });
    };
    at_most("changed", get(&ledger.changed), 0);
    at_most("lost", ledger.lost(), 0);
    // The broker may have stored a message whose confirmation the restart has cut off.
    at_most("stored twice", get(&ledger.stored_twice), get(&ledger.failed));
    // The restart cuts off the settlements that are on their way.
    let restarted = get(&ledger.redelivered).saturating_sub(get(&ledger.requeued));
    at_most("redelivered, beside those that were requeued", restarted, MAX_UNACKED);
    let [accepted, returned] = [&ledger.accepted, &ledger.returned].map(get);
    report.check(equal(&format!("{name}: messages confirmed or returned"), messages, accepted + returned));
}
