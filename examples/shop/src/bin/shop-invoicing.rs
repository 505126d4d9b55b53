//! Invoicing: writes the invoice of each order from a queue of RabbitMQ, and reports the parcel to JetStream.

use std::process::ExitCode;

use async_nats::jetstream::stream;
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use otel_amqp::{Connection, Consumer, Delivery};
use otel_nats::jetstream::Context;
use shop::{Failure, INVOICES, RETRY_DELAY, SHIPMENTS, SHIPPED, Service, open_invoices, setting};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("invoicing", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let shipments = otel_nats::jetstream::new(otel_nats::connect(setting("NATS_URL")?).await?);
    let config = stream::Config {
        name: SHIPMENTS.to_owned(),
        subjects: vec![SHIPPED.to_owned()],
        ..stream::Config::default()
    };
    shipments.inner().get_or_create_stream(config).await?;

    let url = setting("RABBITMQ_URL")?;
    let (mut connection, mut invoices) = consume(&url).await?;
    service.ready(None)?;
    let mut stop = service.stop();
    loop {
        let invoice = tokio::select! {
            invoice = invoices.next() => invoice,
            () = &mut stop => break,
        };
        let Some(Ok(invoice)) = invoice else {
            service.report("lost its connection to RabbitMQ");
            tokio::select! {
                again = reconnect(&url) => (connection, invoices) = again,
                () = &mut stop => return Ok(()),
            }
            continue;
        };
        if let Err(error) = invoice.process(async |invoice| write(invoice, &shipments).await).await {
            service.report(format_args!("cannot write an invoice now: {error}"));
        }
    }
    connection.close(200, "bye".into()).await?;
    Ok(())
}

async fn consume(url: &str) -> Result<(Connection, Consumer), Failure> {
    let (connection, channel) = open_invoices(url).await?;
    // One at a time: while an invoice waits to go back, no other one is tried.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let invoices = channel.basic_consume(INVOICES.into(), "invoicing".into(), options, arguments).await?;
    Ok((connection, invoices))
}

async fn reconnect(url: &str) -> (Connection, Consumer) {
    loop {
        if let Ok(connected) = consume(url).await {
            return connected;
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Writes the invoice. It goes back to the queue, after a pause, if the parcel cannot be reported.
async fn write(invoice: &Delivery, shipments: &Context) -> Result<(), Failure> {
    let reported = async {
        shipments.publish(SHIPPED, invoice.data.clone().into()).await?.await?;
        Ok::<_, Failure>(())
    };
    let reported = reported.await;
    match &reported {
        Ok(()) => invoice.ack(BasicAckOptions::default()).await?,
        Err(_) => {
            // RabbitMQ delivers it again at once.
            sleep(RETRY_DELAY).await;
            invoice.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?
        }
    };
    reported
}
