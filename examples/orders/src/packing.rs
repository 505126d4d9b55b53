//! The packing service: processes an order and sends either a parcel or a dead letter.

use otel_kafka::{FutureProducer, HandlerOutcome};
use otel_operation::Outcome;
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use crate::PATIENCE;
use crate::clients::{Clients, Consumer, next};
use crate::cluster::Cluster;
use crate::reports::{Reporter, Stop};

/// One member of the group.
pub(crate) struct Packing {
    pub(crate) consumer: Consumer,
    producer: FutureProducer,
    parcels: String,
    dead_letters: String,
    reports: Reporter,
}

/// The result of processing an order, which determines the outcome of its `process` span.
enum Packed {
    Sent,
    /// Unreadable, and sent to the dead-letter topic.
    Poison,
    /// Neither sent nor committed; the order stays in the topic.
    Stuck(KafkaError),
}

impl HandlerOutcome for Packed {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Sent => Outcome::ok(),
            Self::Poison => Outcome::error("unreadable_order"),
            Self::Stuck(_) => Outcome::error("stuck"),
        }
    }
}

impl Packing {
    pub(crate) fn new(cluster: &Cluster, clients: &Clients<'_>, reports: Reporter) -> KafkaResult<Self> {
        Ok(Self {
            consumer: clients.consumer("packing", &cluster.name("orders"))?,
            producer: clients.producer()?,
            parcels: cluster.name("parcels"),
            dead_letters: cluster.name("orders.dead"),
            reports,
        })
    }

    pub(crate) async fn run(self, mut stop: Stop) -> KafkaResult<()> {
        while let Some(order) = next(&self.consumer, &mut stop).await? {
            if let Packed::Stuck(error) = order.process(async |order| self.pack(order).await).await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs inside the order's `process` span, so that sends and commits belong to its trace.
    async fn pack(&self, order: &BorrowedMessage<'_>) -> Packed {
        let customer = order.key().unwrap_or_default();
        let text = order.payload_view::<str>().and_then(Result::ok);
        let (packed, sent) = match text.ok_or(Unreadable::Text).and_then(parse) {
            Ok(parcel) => {
                let record = FutureRecord::to(&self.parcels).key(customer).payload(&parcel);
                (Packed::Sent, self.producer.send(record, PATIENCE).await)
            }
            Err(error) => {
                // Payload and headers are kept, and the reason is added. The producer replaces the context in the
                // headers by that of the new `send` span, which links to the old one.
                let reason = error.to_string();
                let headers = order.headers().map_or_else(OwnedHeaders::new, |headers| headers.detach());
                let headers = headers.insert(Header { key: "reason", value: Some(&reason) });
                let record = FutureRecord::to(&self.dead_letters).key(customer).headers(headers);
                let record = FutureRecord { payload: order.payload(), ..record };
                (Packed::Poison, self.producer.send(record, PATIENCE).await)
            }
        };
        if let Err((error, _)) = sent {
            return Packed::Stuck(error);
        }
        if let Err(error) = self.consumer.commit_message(order, CommitMode::Async) {
            return Packed::Stuck(error);
        }
        let order = String::from_utf8_lossy(order.payload().unwrap_or_default());
        self.reports.send(match packed {
            Packed::Poison => format!("cannot read {order:?}"),
            _ => format!("packs {order:?}"),
        });
        packed
    }
}

/// The reason for a dead letter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unreadable {
    #[error("not UTF-8")]
    Text,
    #[error("not of the form `NUMBER THING`")]
    Words,
    #[error("invalid number")]
    Number,
}

/// Parses an order such as `2 apples` and returns the text of its parcel.
fn parse(order: &str) -> Result<String, Unreadable> {
    let (number, thing) = order.split_once(' ').ok_or(Unreadable::Words)?;
    let number: u32 = number.parse().map_err(|_| Unreadable::Number)?;
    Ok(format!("parcel of {number} {thing}"))
}

#[cfg(test)]
mod tests {
    use super::{Unreadable, parse};

    #[test]
    fn an_order_is_a_number_and_a_thing() {
        assert_eq!(parse("2 apples"), Ok("parcel of 2 apples".to_owned()));
        assert_eq!(parse("apples"), Err(Unreadable::Words));
        assert_eq!(parse("some apples"), Err(Unreadable::Number));
    }
}
