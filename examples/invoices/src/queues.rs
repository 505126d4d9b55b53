//! Queues of the demonstration, which the broker deletes a minute after their last use, and consumers of them.

use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use otel_amqp::{Channel, Consumer};

use crate::Failure;

/// The time without use after which the broker deletes a queue.
const EXPIRES: i32 = 60_000;

/// Declares a queue, whose rejected messages go to the queue `dead_letters` if there is one.
pub(crate) async fn declare(
    channel: &Channel,
    name: &str,
    dead_letters: Option<&str>,
) -> Result<(), Failure> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongInt(EXPIRES));
    if let Some(queue) = dead_letters {
        // The default exchange has each queue under its name.
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(queue.into()));
    }
    channel.queue_declare(name.into(), QueueDeclareOptions::default(), arguments).await?;
    Ok(())
}

/// Consumes from a queue. The broker sends a message after the one before has been settled.
pub(crate) async fn consume(channel: &Channel, queue: &str) -> Result<Consumer, Failure> {
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    Ok(channel.basic_consume(queue.into(), "".into(), options, arguments).await?)
}
