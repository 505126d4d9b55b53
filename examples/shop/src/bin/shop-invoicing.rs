//! Invoicing: writes the invoice of each order from a queue of RabbitMQ, and reports the parcel to JetStream.

use std::process::ExitCode;

use async_nats::jetstream::stream;
use futures_util::StreamExt as _;
use lapin::ConnectionProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use otel_amqp::{Connection, Delivery};
use otel_nats::jetstream::Context;
use shop::{Failure, INVOICES, SHIPMENTS, SHIPPED, Service, setting};

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

    let connection = Connection::connect(&setting("RABBITMQ_URL")?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(INVOICES.into(), durable, FieldTable::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut invoices = channel.basic_consume(INVOICES.into(), "invoicing".into(), options, arguments).await?;
    service.ready(None)?;
    let mut stop = service.stop();
    loop {
        let invoice = tokio::select! {
            invoice = invoices.next() => invoice,
            () = &mut stop => break,
        };
        let Some(invoice) = invoice else { break };
        let written = invoice?.process(async |invoice| write(invoice, &shipments).await).await;
        if let Err(error) = written {
            service.report(format_args!("cannot write an invoice: {error}"));
        }
    }
    connection.close(200, "bye".into()).await?;
    Ok(())
}

/// Writes the invoice. It goes back to the queue if the parcel cannot be reported.
async fn write(invoice: &Delivery, shipments: &Context) -> Result<(), Failure> {
    let reported = async {
        shipments.publish(SHIPPED, invoice.data.clone().into()).await?.await?;
        Ok::<_, Failure>(())
    };
    let reported = reported.await;
    match &reported {
        Ok(()) => invoice.ack(BasicAckOptions::default()).await?,
        Err(_) => invoice.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?,
    };
    reported
}
