//! A service that does nothing but take note of each message: it shows the stream adapter.

use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _};

use crate::clients::{Clients, Consumer, mended};
use crate::cluster::Cluster;
use crate::reports::{Reports, Stop};

/// Reads one topic.
pub(crate) struct Reader {
    pub(crate) consumer: Consumer,
    reports: Reports,
}

impl Reader {
    pub(crate) fn new(
        cluster: &Cluster,
        clients: &Clients<'_>,
        [group, topic]: [&str; 2],
        reports: Reports,
    ) -> KafkaResult<Self> {
        Ok(Self { consumer: clients.consumer(group, &cluster.name(topic))?, reports })
    }

    pub(crate) async fn run(self, mut stop: Stop) -> KafkaResult<()> {
        let mut stop = std::pin::pin!(stop.wanted());
        // An error of receiving ends the adapter, which can go on where it was.
        while let Err(error) = self.consumer.for_each(stop.as_mut(), |message| self.note(message)).await {
            mended(error)?;
        }
        Ok(())
    }

    /// Runs inside the message's `process` span.
    async fn note(&self, message: BorrowedMessage<'_>) -> Result<(), KafkaError> {
        self.consumer.commit_message(&message, CommitMode::Async)?;
        let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
        let reason = message.headers().and_then(|headers| {
            let reason = headers.iter().find(|header| header.key == "reason")?;
            Some(String::from_utf8_lossy(reason.value?).into_owned())
        });
        self.reports.say(match reason {
            Some(reason) => format!("gets {text:?}: {reason}"),
            None => format!("gets {text:?}"),
        });
        Ok(())
    }
}
