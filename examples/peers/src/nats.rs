//! Our requests and our responder over NATS.

use anyhow::{Result, bail};
use futures_util::StreamExt as _;
use otel_nats::{Client, Message};

use crate::servers::Seen;

/// A connection, and the prefix of the subjects that are served over it.
#[derive(Debug)]
pub(crate) struct Nats {
    client: Client,
    prefix: String,
}

impl Nats {
    pub(crate) async fn start(url: &str, seen: Seen) -> Result<Self> {
        let client = otel_nats::connect(url).await?;
        let prefix = format!("ours-{}", std::process::id());
        let mut requests = client.subscribe(format!("{prefix}.*")).await?;
        // The server has the subscription before the peer's first request.
        client.flush().await?;
        let responder = client.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                // A failure is on the span, and in the response.
                let _ = request.process(async |request| respond(&responder, &seen, request).await).await;
            }
        });
        Ok(Self { client, prefix })
    }

    /// Requests from the peer that it calls `name` at our responder. Returns true for a success, false for our failure.
    pub(crate) async fn call(&self, peer: &str, name: &str) -> Result<bool> {
        let response = self.client.request(peer.to_owned(), format!("{}.{name}", self.prefix).into()).await?;
        match &response.payload[..] {
            b"ok" => Ok(true),
            b"failed" => Ok(false),
            other => bail!("the peer responded with {other:?}"),
        }
    }
}

async fn respond(client: &Client, seen: &Seen, request: &Message) -> Result<()> {
    seen.look();
    let Some(reply) = request.reply.clone() else { bail!("the request has no subject for its reply") };
    let succeeds = request.subject.ends_with(".ok");
    client.publish(reply, if succeeds { "ok" } else { "failed" }.into()).await?;
    if succeeds { Ok(()) } else { bail!("a failure for the test") }
}
