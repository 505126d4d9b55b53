//! The warehouse: packs each order of a Kafka topic, with items from the stock, and asks for its invoice.
//!
//! Without `NATS_URL` and `RABBITMQ_URL` it packs alone.

use std::process::ExitCode;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ConnectionProperties};
use otel_amqp::{Channel, Connection};
use otel_kafka::StreamConsumer;
use otel_nats::Client;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Message as _};
use shop::{Failure, INVOICES, ORDER_PLACED, Order, Service, TAKE, setting};

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("warehouse", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let stock = match setting("NATS_URL") {
        Ok(url) => Some(otel_nats::connect(url).await?),
        Err(_) => None,
    };
    let invoices = match setting("RABBITMQ_URL") {
        Ok(url) => Some(Invoices::connect(&url).await?),
        Err(_) => None,
    };
    let warehouse = Warehouse { stock, invoices };
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", setting("KAFKA_BROKERS")?)
        .set("group.id", "warehouse")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[ORDER_PLACED])?;
    service.ready(None)?;
    let mut stop = service.stop();
    loop {
        let message = tokio::select! {
            message = consumer.recv() => message,
            () = &mut stop => break,
        };
        let message = match message {
            Ok(message) => message,
            // librdkafka connects again without help.
            Err(error) => {
                service.report(format_args!("cannot receive: {error}"));
                continue;
            }
        };
        let packed = message.process(async |message| {
            let order: Order = serde_json::from_slice(message.payload().unwrap_or_default())?;
            warehouse.pack(&order).await?;
            service.report(format_args!("has packed order {}", order.number));
            Ok::<_, Failure>(())
        });
        match packed.await {
            Ok(()) => consumer.commit_message(&message, CommitMode::Async)?,
            Err(error) => service.report(format_args!("cannot pack: {error}")),
        }
    }
    Ok(())
}

struct Warehouse {
    stock: Option<Client>,
    invoices: Option<Invoices>,
}

impl Warehouse {
    async fn pack(&self, order: &Order) -> Result<(), Failure> {
        let order = serde_json::to_vec(order)?;
        if let Some(stock) = &self.stock {
            stock.request(TAKE, order.clone().into()).await?;
        }
        if let Some(invoices) = &self.invoices {
            invoices.send(&order).await?;
        }
        Ok(())
    }
}

/// The queue of invoices.
struct Invoices {
    channel: Channel,
    _connection: Connection,
}

impl Invoices {
    async fn connect(url: &str) -> Result<Self, Failure> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(INVOICES.into(), durable, FieldTable::default()).await?;
        Ok(Self { channel, _connection: connection })
    }

    async fn send(&self, order: &[u8]) -> Result<(), Failure> {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent = self.channel.basic_publish(
            "".into(),
            INVOICES.into(),
            BasicPublishOptions::default(),
            order,
            properties,
        );
        sent.await?.await?;
        Ok(())
    }
}
