//! The warehouse: packs each order of a Kafka topic, with items from the stock, and asks for its invoice.
//!
//! Without `NATS_URL` and `RABBITMQ_URL` it packs alone.

use std::process::ExitCode;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};
use otel_amqp::{Channel, Connection};
use otel_kafka::StreamConsumer;
use otel_nats::Client;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Message as _};
use shop::{Failure, INVOICES, ORDER_PLACED, Order, RETRY_DELAY, Service, TAKE, open_invoices, setting};
use tokio::sync::Mutex;
use tokio::time::sleep;

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
        Ok(url) => Some(Invoices::new(url).await?),
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
        // An order that cannot be packed now keeps its partition waiting, so that none is left out.
        let packed = message.process(async |message| {
            let order: Order = serde_json::from_slice(message.payload().unwrap_or_default())?;
            while let Err(error) = warehouse.pack(&order).await {
                service.report(format_args!("cannot pack order {} now: {error}", order.number));
                sleep(RETRY_DELAY).await;
            }
            service.report(format_args!("has packed order {}", order.number));
            Ok::<_, Failure>(())
        });
        let packed = tokio::select! {
            packed = packed => packed,
            // It is delivered again after the next start.
            () = &mut stop => break,
        };
        if let Err(error) = packed {
            service.report(format_args!("leaves out a message that is no order: {error}"));
        }
        if let Err(error) = consumer.commit_message(&message, CommitMode::Async) {
            service.report(format_args!("cannot commit: {error}"));
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

/// The queue of invoices. A connection that was lost is opened again.
struct Invoices {
    url: String,
    open: Mutex<Option<(Connection, Channel)>>,
}

impl Invoices {
    async fn new(url: String) -> Result<Self, Failure> {
        let open = Mutex::new(Some(connect(&url).await?));
        Ok(Self { url, open })
    }

    async fn send(&self, order: &[u8]) -> Result<(), Failure> {
        let mut open = self.open.lock().await;
        let (connection, channel) = match open.take() {
            Some(open) => open,
            None => connect(&self.url).await?,
        };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let published = channel.basic_publish("".into(), INVOICES.into(), options, order, properties).await?;
        let confirmation = published.await?;
        *open = Some((connection, channel));
        check_accepted(&confirmation)
    }
}

/// Returns an error if the broker has refused a message, as one whose queue is full does.
fn check_accepted(confirmation: &Confirmation) -> Result<(), Failure> {
    match confirmation {
        Confirmation::Nack(_) => Err(format!("RabbitMQ refused a message for the queue {INVOICES}").into()),
        Confirmation::Ack(_) | Confirmation::NotRequested => Ok(()),
    }
}

async fn connect(url: &str) -> Result<(Connection, Channel), Failure> {
    let (connection, channel) = open_invoices(url).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

#[cfg(test)]
mod tests {
    use lapin::Confirmation;

    use super::check_accepted;

    #[test]
    fn a_refused_invoice_is_an_error() {
        assert!(check_accepted(&Confirmation::Ack(None)).is_ok());
        let refused = check_accepted(&Confirmation::Nack(None)).unwrap_err().to_string();
        assert_eq!(refused, "RabbitMQ refused a message for the queue invoices");
    }
}
