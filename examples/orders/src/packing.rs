//! A member of the group that packs orders: it processes one, and sends it on or puts it with the dead letters.

use otel_kafka::{FutureProducer, Handled};
use otel_operation::Outcome;
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use crate::PATIENCE;
use crate::clients::{Clients, Consumer, next};
use crate::cluster::Cluster;
use crate::reports::{Reports, Stop};

/// One member.
pub(crate) struct Packing {
    pub(crate) consumer: Consumer,
    producer: FutureProducer,
    parcels: String,
    dead_letters: String,
    reports: Reports,
}

/// What became of an order, which is how its `process` span ends.
enum Packed {
    Sent,
    /// Nobody can ever pack it: it is with the dead letters.
    Poison,
    /// It could neither be sent on nor put aside, and stays where it is.
    Stuck(KafkaError),
}

impl Handled for Packed {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Sent => Outcome::ok(),
            Self::Poison => Outcome::error("unreadable_order"),
            Self::Stuck(_) => Outcome::error("stuck"),
        }
    }
}

impl Packing {
    pub(crate) fn new(cluster: &Cluster, clients: &Clients<'_>, reports: Reports) -> KafkaResult<Self> {
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

    /// Runs inside the order's `process` span: what is sent and committed here becomes part of its trace.
    async fn pack(&self, order: &BorrowedMessage<'_>) -> Packed {
        let customer = order.key().unwrap_or_default();
        let text = order.payload_view::<str>().and_then(Result::ok);
        let (packed, sent) = match text.ok_or(Unreadable::Text).and_then(read) {
            Ok(parcel) => {
                let record = FutureRecord::to(&self.parcels).key(customer).payload(&parcel);
                (Packed::Sent, self.producer.send(record, PATIENCE).await)
            }
            Err(why) => {
                // As it came, headers and all, and with the reason. The headers' old context is replaced by that of the
                // new `send` span, which links to it.
                let why = why.to_string();
                let headers = order.headers().map_or_else(OwnedHeaders::new, |headers| headers.detach());
                let headers = headers.insert(Header { key: "reason", value: Some(&why) });
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
        self.reports.say(match packed {
            Packed::Poison => format!("cannot read {order:?}"),
            _ => format!("packs {order:?}"),
        });
        packed
    }
}

/// Why an order cannot be packed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unreadable {
    #[error("it is no text")]
    Text,
    #[error("it says no number and thing")]
    Words,
    #[error("its number is none")]
    Number,
}

/// What is in the parcel for an order such as `2 apples`.
fn read(order: &str) -> Result<String, Unreadable> {
    let (number, thing) = order.split_once(' ').ok_or(Unreadable::Words)?;
    let number: u32 = number.parse().map_err(|_| Unreadable::Number)?;
    Ok(format!("parcel of {number} {thing}"))
}

#[cfg(test)]
mod tests {
    use super::{Unreadable, read};

    #[test]
    fn an_order_is_a_number_and_a_thing() {
        assert_eq!(read("2 apples"), Ok("parcel of 2 apples".to_owned()));
        assert_eq!(read("apples"), Err(Unreadable::Words));
        assert_eq!(read("some apples"), Err(Unreadable::Number));
    }
}
