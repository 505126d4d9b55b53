//! Our messages and our consumers over RabbitMQ.

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ConnectionProperties};
use otel_amqp::{Channel, Connection, Consumer};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::servers::Seen;

/// A channel, and the prefix of the queues that are consumed from.
#[derive(Debug)]
pub(crate) struct Amqp {
    channel: Channel,
    prefix: String,
    /// The results of the consumers: true for a success.
    results: Mutex<UnboundedReceiver<bool>>,
}

impl Amqp {
    pub(crate) async fn start(url: &str, seen: &Seen) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let prefix = format!("ours-{}", std::process::id());
        let (sender, results) = unbounded_channel();
        for name in ["ok", "fail"] {
            let queue = format!("{prefix}.{name}");
            let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.as_str().into(), exclusive, FieldTable::default()).await?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let consumer = channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
            tokio::spawn(consume(consumer, name == "ok", seen.clone(), sender.clone()));
        }
        Ok(Self { channel, prefix, results: Mutex::new(results) })
    }

    /// Sends the peer a message that it relays to our consumer `name`. Returns true for a success, false for our failure.
    pub(crate) async fn call(&self, peer: &str, name: &str) -> Result<bool> {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let target = format!("{}.{name}", self.prefix);
        let sent = self.channel.basic_publish("".into(), peer.into(), options, target.as_bytes(), properties);
        sent.await?.await?;
        self.results.lock().await.recv().await.context("our consumers have ended")
    }
}

async fn consume(mut consumer: Consumer, succeeds: bool, seen: Seen, results: UnboundedSender<bool>) {
    while let Some(Ok(delivery)) = consumer.next().await {
        let handled = delivery.process(async |_| {
            seen.look();
            if succeeds { Ok(()) } else { bail!("a failure for the test") }
        });
        // A failure is on the span.
        let result = handled.await;
        // The caller waits for as long as the connection is open.
        let _ = delivery.ack(BasicAckOptions::default()).await;
        let _ = results.send(result.is_ok());
    }
}
