//! The program of the README's section "Adopting", with async-nats alone.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind, Context, Message};
use async_nats::{Client, Error};
use bytes::Bytes;
use futures_util::StreamExt;

struct Worker {
    client: Client,
    context: Context,
}

impl Worker {
    async fn new(server: &str) -> Result<Self, Error> {
        let client = async_nats::connect(server).await?;
        let context = jetstream::new(client.clone());
        Ok(Self { client, context })
    }

    async fn run(&self) -> Result<(), Error> {
        let stream = self.context.get_stream("ORDERS").await?;
        let consumer: PullConsumer = stream.get_consumer("till").await?;
        let mut orders = consumer.messages().await?;
        while let Some(order) = orders.next().await {
            let order = order?;
            self.handle(&order).await?;
        }
        Ok(())
    }

    async fn handle(&self, order: &Message) -> Result<(), Error> {
        match self.price(order.payload.clone()).await {
            Ok(price) => {
                self.send_receipt(price).await?;
                order.ack().await
            }
            Err(_) => order.ack_with(AckKind::Nak(Some(Duration::from_secs(5)))).await,
        }
    }

    async fn price(&self, order: Bytes) -> Result<Bytes, Error> {
        let reply = self.client.request("prices", order).await?;
        Ok(reply.payload)
    }

    async fn send_receipt(&self, price: Bytes) -> Result<(), Error> {
        let ack = self.context.publish("receipts", price).await?;
        ack.await?;
        self.client.publish("bells", "ring".into()).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "localhost:4222".to_owned());
    Worker::new(&server).await?.run().await
}
