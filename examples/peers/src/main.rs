//! The program: sends requests through a peer, a service in another language, back to servers of its own, and checks
//! that each request is one trace.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its terminal")]

mod amqp;
mod clients;
mod nats;
mod peer;
mod servers;
mod spans;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{RandomIdGenerator, Sampler};
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;

use crate::clients::Client;
use crate::peer::Peer;
use crate::servers::Servers;
use crate::spans::Span;

const HELP: &str =
    "usage: peers COMMAND [ARGUMENT]...\n\nThe command starts a peer; see examples/peers/README.md.";

/// The value of the baggage, which each server records.
const TENANT: &str = "acme";

/// The longest time until a request has its response, and then until its spans have arrived.
const PATIENCE: Duration = Duration::from_secs(10);

/// One request to the peer.
#[derive(Clone, Copy, Debug)]
struct Case {
    client: Client,
    /// The name at our server that the peer calls: `ok` or `fail`.
    name: &'static str,
    sampled: bool,
}

impl Case {
    /// The spans of its trace, and the context that our handler sees.
    fn expected(self) -> String {
        format!("{}our handler: sampled={} tenant={TENANT}\n", self.tree(), self.sampled)
    }

    /// The spans of its trace, of which there are none if it is not sampled.
    fn tree(self) -> String {
        let failed = if self.name == "fail" { " error" } else { "" };
        match self.client {
            _ if !self.sampled => String::new(),
            // A reply of NATS has no status, so that our client does not see the failure. It is a message, too.
            Client::Nats => format!(
                "ours client\n\
                 . peer consumer{failed} linked tenant={TENANT}\n\
                 . . peer client{failed}\n\
                 . . . ours consumer{failed} linked tenant={TENANT}\n\
                 . . . . ours producer\n"
            ),
            // A message is relayed, and its sender does not see the failure of its last consumer.
            Client::Amqp => format!(
                "ours producer\n\
                 . peer consumer tenant={TENANT}\n\
                 . . peer producer\n\
                 . . . ours consumer{failed} linked tenant={TENANT}\n"
            ),
            _ => format!(
                "ours client{failed}\n\
                 . peer server{failed} tenant={TENANT}\n\
                 . . peer client{failed}\n\
                 . . . ours server{failed} tenant={TENANT}\n"
            ),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match run(program, arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(program: &str, arguments: &[String]) -> Result<()> {
    let recorder = Recorder::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_id_generator(RandomIdGenerator::default())
        .build();
    opentelemetry::global::set_tracer_provider(recorder.tracer_provider().clone());
    opentelemetry::global::set_meter_provider(recorder.meter_provider().clone());
    otel_propagation::set_global(CompositePropagator::default());
    // The peer reads the same variables.
    let [nats, amqp] = ["NATS_URL", "RABBITMQ_URL"].map(|name| std::env::var(name).ok());
    let servers = Servers::start(nats.as_deref(), amqp.as_deref()).await?;
    let peer = Peer::start(program, arguments).await?;

    // Those that are not sampled come first: when the last spans of the others have arrived, so would theirs.
    let mut cases = Vec::new();
    for sampled in [false, true] {
        for client in clients::of(&peer) {
            cases.extend(["ok", "fail"].map(|name| Case { client, name, sampled }));
        }
    }
    for (number, case) in cases.iter().enumerate() {
        let call = case.client.call(&peer, &servers, case.name).with_context(parent(number, *case));
        let succeeded = tokio::time::timeout(PATIENCE, call)
            .await
            .map_err(|_| anyhow!("{case:?} has no response after {PATIENCE:?}"))??;
        ensure!(succeeded == (case.name == "ok"), "the result of {case:?} is wrong: succeeded = {succeeded}");
        wait(&recorder, &peer, trace_id(number), case.tree().lines().count()).await;
    }

    let mut wrong = 0;
    for (number, case) in cases.iter().enumerate() {
        let tree = spans::render(&spans_of(&recorder, &peer, trace_id(number)), parent_id());
        let found = tree + &servers.seen(trace_id(number));
        println!("{:?}, {}, sampled: {}: trace {}", case.client, case.name, case.sampled, trace_id(number));
        print!("{found}");
        if found != case.expected() {
            println!("expected:\n{}", case.expected());
            wrong += 1;
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {} traces are wrong; they are above", cases.len());
    }
    println!("{} requests, each one trace", cases.len());
    Ok(())
}

/// The trace of a case.
fn trace_id(number: usize) -> TraceId {
    TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_0000_0000_0001 + number as u128)
}

/// The span that all of our client spans have as their parent.
fn parent_id() -> SpanId {
    SpanId::from(0x00f0_67aa_0ba9_02b7)
}

fn parent(number: usize, case: Case) -> Context {
    let flags = if case.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let span = SpanContext::new(trace_id(number), parent_id(), flags, true, TraceState::NONE);
    Context::new().with_remote_span_context(span).with_baggage([KeyValue::new("tenant", TENANT)])
}

/// The finished spans of a trace, ours and the peer's.
fn spans_of(recorder: &Recorder, peer: &Peer, trace: TraceId) -> Vec<Span> {
    let ours = recorder.spans().iter().map(Span::ours).collect::<Vec<_>>();
    ours.into_iter().chain(peer.spans()).filter(|span| span.trace_id == trace.to_string()).collect()
}

/// Waits until a trace has this many spans, or for too long, which the comparison of the trees will show.
async fn wait(recorder: &Recorder, peer: &Peer, trace: TraceId, count: usize) {
    let enough = async {
        while spans_of(recorder, peer, trace).len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, enough).await;
}
