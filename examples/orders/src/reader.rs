//! A service that reports each message, as an example of `for_each`.

use otel_kafka::BorrowedMessage;
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Headers as _;

use crate::clients::{Clients, Consumer, check_fatal};
use crate::cluster::Cluster;
use crate::reports::{Reporter, Stop};

/// A service that reads one topic.
pub(crate) struct Reader {
    pub(crate) consumer: Consumer,
    reports: Reporter,
}

impl Reader {
    pub(crate) fn new(
        cluster: &Cluster,
        clients: &Clients<'_>,
        [group, topic]: [&str; 2],
        reports: Reporter,
    ) -> KafkaResult<Self> {
        Ok(Self { consumer: clients.consumer(group, &cluster.name(topic))?, reports })
    }

    pub(crate) async fn run(self, mut stop: Stop) -> KafkaResult<()> {
        let mut stop = std::pin::pin!(stop.requested());
        // A receive error ends `for_each`; calling it again continues at the same position.
        while let Err(error) = self.consumer.for_each(stop.as_mut(), |message| self.handle(message)).await {
            check_fatal(error)?;
        }
        Ok(())
    }

    /// Runs inside the message's `process` span.
    async fn handle(&self, message: BorrowedMessage<'_>) -> Result<(), KafkaError> {
        self.consumer.commit_message(&message, CommitMode::Async)?;
        let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
        let reason = message.headers().and_then(|headers| {
            let reason = headers.iter().find(|header| header.key == "reason")?;
            Some(String::from_utf8_lossy(reason.value?).into_owned())
        });
        self.reports.send(match reason {
            Some(reason) => format!("gets {text:?}: {reason}"),
            None => format!("gets {text:?}"),
        });
        Ok(())
    }
}
