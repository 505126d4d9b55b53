//! The program: sends requests through two sidecars of Envoy and two services, and checks the trace of each, span by span.
//!
//! `mesh ENVOY`: the path of Envoy's program.

#![expect(clippy::print_stdout, reason = "an example talks to its terminal")]

mod cases;
mod envoy;
mod pair;
mod spans;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::timeout;

use crate::cases::{CALLERS, CASES, Case, Entry, MARKER, MARKER_TRACE};
use crate::pair::{PATIENCE, Pair};
use crate::spans::{Receiver, Span, render};

#[tokio::main]
async fn main() -> Result<()> {
    let envoy = PathBuf::from(env::args().nth(1).context("usage: mesh ENVOY, the path of Envoy's program")?);
    for case in CASES {
        let text = check(&envoy, case).await.with_context(|| format!("case `{}`", case.about))?;
        println!("{}\n{text}", case.about);
    }
    println!("{} cases", CASES.len());
    Ok(())
}

/// Sends the request of a case, and returns the tree of its spans, which has to be the expected one.
async fn check(envoy: &Path, case: &Case) -> Result<String> {
    let receiver = Receiver::default();
    let pair = Pair::start(envoy, receiver.start().await?, case.settings).await?;
    let url = match case.entry {
        Entry::Sidecar => &pair.sidecar,
        Entry::Application => &pair.application,
    };
    send(url, case.headers).await?;
    if case.tree.is_empty() {
        // Spans are sent in their order: those of the request would arrive before those of a sampled one after it.
        let ends = case.settings.cuts_traces();
        let (url, count) = if ends { (&pair.application, 2) } else { (&pair.sidecar, 9) };
        send(url, MARKER).await?;
        let of_marker = |spans: &[Span]| spans.iter().filter(|span| span.trace == MARKER_TRACE).count();
        if timeout(PATIENCE, receiver.wait_until(|spans| of_marker(spans) >= count)).await.is_err() {
            bail!("a sampled request has not {count} spans:\n{}", render(&receiver.spans(), CALLERS));
        }
    } else {
        let arrived = receiver.wait_until(|spans| render(spans, CALLERS) == case.tree);
        // The comparison below has the difference.
        let _ = timeout(PATIENCE, arrived).await;
    }
    let mut spans = receiver.spans();
    spans.retain(|span| span.trace != MARKER_TRACE);
    let tree = render(&spans, CALLERS);
    ensure!(tree == case.tree, "the spans are\n{tree}\nexpected:\n{}\n{spans:#?}", case.tree);
    Ok(tree)
}

async fn send(url: &str, headers: &[(&str, &str)]) -> Result<()> {
    let mut request = reqwest::Client::new().get(format!("{url}/hop/7"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let text = request.send().await?.error_for_status()?.text().await?;
    ensure!(text == "7", "the response is {text:?}");
    Ok(())
}
