//! Requests and replies: a service that knows exchange rates, and a requester with direct replies.

use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use otel_amqp::{Channel, Consumer, Delivery};
use tokio::time::timeout;

use crate::reports::Reporter;
use crate::{Failure, PATIENCE, queues};

/// The pseudo-queue of direct replies, see <https://www.rabbitmq.com/docs/direct-reply-to>.
const REPLIES: &str = "amq.rabbitmq.reply-to";

fn requests(prefix: &str) -> String {
    format!("{prefix}rates")
}

/// The service.
#[derive(Debug)]
pub(crate) struct Rates {
    channel: Channel,
    requests: Consumer,
    reporter: Reporter,
}

impl Rates {
    pub(crate) async fn new(channel: Channel, prefix: &str, reporter: Reporter) -> Result<Self, Failure> {
        let queue = requests(prefix);
        queues::declare(&channel, &queue, None).await?;
        Ok(Self { requests: queues::consume(&channel, &queue).await?, channel, reporter })
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        while let Some(request) = self.requests.next().await {
            let request = request?;
            let (channel, reporter) = (&self.channel, &self.reporter);
            request.process(async |request| answer(channel, reporter, request).await).await?;
        }
        Ok(())
    }
}

async fn answer(channel: &Channel, reporter: &Reporter, request: &Delivery) -> Result<(), lapin::Error> {
    reporter.send(format_args!("knows {}", String::from_utf8_lossy(&request.data)));
    if let Some(to) = request.properties.reply_to().clone() {
        let mut properties = BasicProperties::default();
        if let Some(id) = request.properties.correlation_id().clone() {
            properties = properties.with_correlation_id(id);
        }
        // Inside of `process`, so that the reply is in the requester's trace.
        channel
            .basic_publish("".into(), to, BasicPublishOptions::default(), b"1.09", properties)
            .await?
            .await?;
    }
    request.ack(BasicAckOptions::default()).await?;
    Ok(())
}

/// Asks for a rate, and returns the reply.
pub(crate) async fn ask(channel: &Channel, prefix: &str, currency: &str) -> Result<String, Failure> {
    let (options, arguments) =
        (BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() }, FieldTable::default());
    let mut replies = channel.basic_consume(REPLIES.into(), "".into(), options, arguments).await?;
    let properties =
        BasicProperties::default().with_reply_to(REPLIES.into()).with_correlation_id("rate-1".into());
    let (queue, options) = (requests(prefix), BasicPublishOptions::default());
    channel.basic_publish("".into(), queue.into(), options, currency.as_bytes(), properties).await?.await?;
    let reply = timeout(PATIENCE, replies.next()).await?.ok_or("the consumer of replies was cancelled")??;
    let read = async |reply: &Delivery| String::from_utf8(reply.data.clone());
    Ok(reply.process(read).await?)
}
