//! A producer and the consumer of a group:
//! `cargo run -p otel-redis --features streams --example redis_streams -- redis://localhost:6379`.

mod common;

use std::error::Error;

use otel_redis::streams::{Acknowledgement, Consumer, MessagingOptions, Producer, StreamMessage};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;

async fn ship(order: StreamMessage<MultiplexedConnection>) -> Result<(), String> {
    let book: Option<String> = order.get("book");
    book.map(|_| ()).ok_or_else(|| "no book".to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let client = redis::Client::open(common::address())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    // Fails if the group exists.
    let _ = connection.xgroup_create_mkstream("orders", "shipping", "0").await.map(|_: String| ());

    let mut producer = Producer::new(connection.clone());
    for field in ["book", "book", "last"] {
        producer.xadd("orders", "*", &[(field, "7")]).await?;
    }

    let options = MessagingOptions::new().with_acknowledgement(Acknowledgement::OnSuccess);
    let mut consumer = Consumer::new(connection, "shipping", "worker-1").with_options(options);
    let last = Notify::new();
    let handler = async |order: StreamMessage<_>| {
        if order.map.contains_key("last") {
            last.notify_one();
        }
        ship(order).await
    };
    consumer.process_each(&["orders"], last.notified(), handler).await?;
    telemetry.shutdown()?;
    Ok(())
}
