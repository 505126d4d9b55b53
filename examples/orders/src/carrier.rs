//! The carrier, who drives when the van is full: several messages processed as one batch.

use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};

use crate::clients::{Clients, Consumer, next};
use crate::cluster::Cluster;
use crate::reports::{Reports, Stop};

/// How many parcels the van holds.
const LOAD: usize = 3;

/// The carrier.
pub(crate) struct Carrier {
    pub(crate) consumer: Consumer,
    reports: Reports,
}

impl Carrier {
    pub(crate) fn new(cluster: &Cluster, clients: &Clients<'_>, reports: Reports) -> KafkaResult<Self> {
        Ok(Self { consumer: clients.consumer("carrier", &cluster.name("parcels"))?, reports })
    }

    pub(crate) async fn run(self, mut stop: Stop) -> KafkaResult<()> {
        loop {
            let mut load = Vec::with_capacity(LOAD);
            while load.len() < LOAD {
                match next(&self.consumer, &mut stop).await? {
                    Some(parcel) => load.push(parcel),
                    // What is in the van was not committed, and will be there again.
                    None => return Ok(()),
                }
            }
            // One span with a link to each parcel: it has no parent, for no parcel is more its cause than another.
            self.consumer
                .processing_batch(&load)
                .run(async {
                    if let Some(last) = load.last() {
                        // There is one partition, so that the last one stands for all before it.
                        self.consumer.commit_message(last, CommitMode::Async)?;
                    }
                    let load: Vec<_> = load
                        .iter()
                        .map(|parcel| String::from_utf8_lossy(parcel.payload().unwrap_or_default()))
                        .collect();
                    self.reports.say(format_args!("drives off with {}", load.join(", ")));
                    Ok::<_, KafkaError>(())
                })
                .await?;
        }
    }
}
