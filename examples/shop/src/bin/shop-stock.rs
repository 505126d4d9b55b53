//! The stock: takes items from the shelf on request over NATS, once for each order.

use std::collections::HashMap;
use std::process::ExitCode;

use futures_util::StreamExt as _;
use shop::{Failure, Order, Service, TAKE, setting};

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("stock", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let client = otel_nats::connect(setting("NATS_URL")?).await?;
    let mut requests = client.queue_subscribe(TAKE, "stock".to_owned()).await?;
    client.flush().await?;
    service.ready(None)?;
    // The shelves by order, so that an order that is repeated gets the same answer.
    let mut taken = HashMap::new();
    let mut stop = service.stop();
    loop {
        let request = tokio::select! {
            request = requests.next() => request,
            () = &mut stop => break,
        };
        let Some(request) = request else { break };
        let next = taken.len() % 40 + 1;
        let reply = request.process(async |request| {
            let order: Order = serde_json::from_slice(&request.payload)?;
            let shelf = *taken.entry(order.number).or_insert(next);
            if let Some(reply) = &request.reply {
                client.publish(reply.clone(), format!("shelf {shelf}").into()).await?;
            }
            Ok::<_, Failure>(())
        });
        if let Err(error) = reply.await {
            service.report(format_args!("cannot answer: {error}"));
        }
    }
    client.drain().await?;
    Ok(())
}
