//! Notifications: one for each parcel that a stream of JetStream reports.

use std::process::ExitCode;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream;
use futures_util::StreamExt as _;
use opentelemetry::Context;
use shop::{Failure, Order, RETRY_DELAY, SHIPMENTS, SHIPPED, Service, TIER, setting};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("notifications", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let context = otel_nats::jetstream::new(otel_nats::connect(setting("NATS_URL")?).await?);
    let config = stream::Config {
        name: SHIPMENTS.to_owned(),
        subjects: vec![SHIPPED.to_owned()],
        ..stream::Config::default()
    };
    let stream = context.inner().get_or_create_stream(config).await?;
    let name = Some("notifications".to_owned());
    let config = pull::Config { durable_name: name, ..pull::Config::default() };
    let consumer = stream.get_or_create_consumer("notifications", config).await?;
    let mut parcels = context.messages(consumer.messages().await?);
    service.ready(None)?;
    let mut stop = service.stop();
    loop {
        let parcel = tokio::select! {
            parcel = parcels.next() => parcel,
            () = &mut stop => break,
        };
        let Some(Ok(parcel)) = parcel else {
            // The server is away; async-nats connects again.
            sleep(RETRY_DELAY).await;
            if let Ok(again) = consumer.messages().await {
                parcels = context.messages(again);
            }
            continue;
        };
        let notified = parcel.process(async |parcel| {
            let order: Order = match serde_json::from_slice(&parcel.payload) {
                Ok(order) => order,
                Err(error) => {
                    // Without an answer it would be delivered again and again.
                    parcel.ack_with(AckKind::Term).await?;
                    return Err(format!("leaves out a parcel that is no order: {error}").into());
                }
            };
            // It was set by the gateway, six services earlier.
            let tier =
                otel_propagation::baggage::get(&Context::current(), TIER).unwrap_or("unknown").to_owned();
            service.report(format_args!("tells {} ({tier}) about order {}", order.customer, order.number));
            parcel.ack().await
        });
        if let Err(error) = notified.await {
            service.report(format_args!("cannot notify: {error}"));
        }
    }
    Ok(())
}
