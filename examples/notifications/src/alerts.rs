//! Publish and subscribe: each subscriber processes its copy of an alert in the trace of the alert.

use futures_util::StreamExt as _;
use otel_nats::{Client, Message};

use crate::Failure;
use crate::reports::Reporter;

/// A subscriber to all alerts.
#[derive(Debug)]
pub(crate) struct Display {
    subscriber: otel_nats::Subscriber,
    reporter: Reporter,
}

impl Display {
    pub(crate) async fn new(client: &Client, prefix: &str, reporter: Reporter) -> Result<Self, Failure> {
        let subscriber = client.subscribe(format!("{prefix}alerts.*")).await?;
        // The server knows the subscription before the first alert.
        client.flush().await?;
        Ok(Self { subscriber, reporter })
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        while let Some(message) = self.subscriber.next().await {
            message.process(async |message| self.show(message)).await;
        }
        Ok(())
    }

    fn show(&self, alert: &Message) {
        self.reporter.send(format_args!("shows {:?}", String::from_utf8_lossy(&alert.payload)));
    }
}
