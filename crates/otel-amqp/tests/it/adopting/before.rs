//! The program of the README's section "Adopting", with lapin alone.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions};
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Error};

struct Worker {
    channel: Channel,
}

impl Worker {
    async fn new(server: &str) -> Result<Self, Error> {
        let connection = Connection::connect(server, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(16, BasicQosOptions::default()).await?;
        Ok(Self { channel })
    }

    async fn run(&self) -> Result<(), Error> {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut orders =
            self.channel.basic_consume("orders".into(), "till".into(), options, arguments).await?;
        while let Some(order) = orders.next().await {
            let order = order?;
            self.handle(&order).await?;
        }
        Ok(())
    }

    async fn handle(&self, order: &Delivery) -> Result<(), Error> {
        match std::str::from_utf8(&order.data) {
            Ok(text) => {
                self.send_bill(&format!("bill for {text}")).await?;
                order.acker.ack(BasicAckOptions::default()).await?;
            }
            Err(_) => {
                let away = BasicNackOptions { requeue: false, ..BasicNackOptions::default() };
                order.acker.nack(away).await?;
            }
        }
        Ok(())
    }

    async fn send_bill(&self, bill: &str) -> Result<(), Error> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let durable = BasicProperties::default().with_delivery_mode(2);
        let sent = self.channel.basic_publish("".into(), "bills".into(), options, bill.as_bytes(), durable);
        sent.await?.await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "amqp://localhost:5672".to_owned());
    Worker::new(&server).await?.run().await
}
