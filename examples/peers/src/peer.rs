//! The peer as a process: its addresses, and the spans that it has written so far.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::spans::Span;

/// The longest time until the peer listens.
const START: Duration = Duration::from_secs(60);

/// The first line that a peer writes.
#[derive(Debug, Deserialize)]
struct Addresses {
    http: String,
    grpc: Option<String>,
    nats: Option<String>,
    amqp: Option<String>,
}

/// A running peer, which is killed when this is dropped. It also exits by itself when its standard input ends.
#[derive(Debug)]
pub(crate) struct Peer {
    addresses: Addresses,
    spans: Arc<Mutex<Vec<Span>>>,
    _process: (Child, Option<ChildStdin>),
}

impl Peer {
    pub(crate) async fn start(program: &str, arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the peer `{program}`"))?;
        let input = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().context("the peer has no output")?).lines();
        let first = tokio::time::timeout(START, lines.next_line())
            .await
            .context("the peer has not written its addresses in time")??
            .context("the peer ended before it wrote its addresses")?;
        let addresses = serde_json::from_str(&first)
            .with_context(|| format!("the peer's first line is not its addresses: {first}"))?;
        let spans = Arc::default();
        tokio::spawn(read(lines, Arc::clone(&spans)));
        Ok(Self { addresses, spans, _process: (child, input) })
    }

    pub(crate) fn http(&self) -> &str {
        &self.addresses.http
    }

    /// The address of its gRPC server, if it has one.
    pub(crate) fn grpc(&self) -> Option<&str> {
        self.addresses.grpc.as_deref()
    }

    /// The subject of its subscription, if it is connected to NATS.
    pub(crate) fn nats(&self) -> Option<&str> {
        self.addresses.nats.as_deref()
    }

    /// The queue of its consumer, if it is connected to RabbitMQ.
    pub(crate) fn amqp(&self) -> Option<&str> {
        self.addresses.amqp.as_deref()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads spans until the peer ends. A line that is no span is shown; the span that it should have been will be missing.
async fn read(mut lines: Lines<BufReader<ChildStdout>>, spans: Arc<Mutex<Vec<Span>>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(span) => spans.lock().unwrap_or_else(PoisonError::into_inner).push(span),
            Err(error) => eprintln!("the peer's line is not a span ({error}): {line}"),
        }
    }
}
