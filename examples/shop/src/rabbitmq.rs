//! The queue of invoices in RabbitMQ, as its sender and its receiver open it.

use std::time::Duration;

use lapin::ConnectionProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use otel_amqp::{Channel, Connection};
use tokio::time::timeout;

use crate::{Failure, INVOICES};

/// The timeout of an attempt to connect: a broker that is starting can accept a connection and not answer.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Connects to a broker, and declares the queue of invoices. The channel lasts as long as the connection.
///
/// # Errors
/// Returns an error if the broker does not answer in ten seconds, or refuses the queue.
pub async fn open_invoices(url: &str) -> Result<(Connection, Channel), Failure> {
    let open = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(INVOICES.into(), durable, FieldTable::default()).await?;
        Ok((connection, channel))
    };
    timeout(ATTEMPT, open).await?
}
