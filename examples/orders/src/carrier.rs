//! The carrier service: processes several messages as one batch.

use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};

use crate::clients::{Clients, Consumer, next};
use crate::cluster::Cluster;
use crate::reports::{Reporter, Stop};

/// The number of parcels in a batch.
const BATCH: usize = 3;

/// The carrier service.
pub(crate) struct Carrier {
    pub(crate) consumer: Consumer,
    reports: Reporter,
}

impl Carrier {
    pub(crate) fn new(cluster: &Cluster, clients: &Clients<'_>, reports: Reporter) -> KafkaResult<Self> {
        Ok(Self { consumer: clients.consumer("carrier", &cluster.name("parcels"))?, reports })
    }

    pub(crate) async fn run(self, mut stop: Stop) -> KafkaResult<()> {
        loop {
            let mut load = Vec::with_capacity(BATCH);
            while load.len() < BATCH {
                match next(&self.consumer, &mut stop).await? {
                    Some(parcel) => load.push(parcel),
                    // Parcels of an incomplete batch are not committed, and are delivered again.
                    None => return Ok(()),
                }
            }
            // One span with a link to each parcel and without a parent, because the parcels have different ones.
            self.consumer
                .processing_batch(&load)
                .run(async {
                    if let Some(last) = load.last() {
                        // The topic has one partition, so the offset of the last parcel covers the batch.
                        self.consumer.commit_message(last, CommitMode::Async)?;
                    }
                    let load: Vec<_> = load
                        .iter()
                        .map(|parcel| String::from_utf8_lossy(parcel.payload().unwrap_or_default()))
                        .collect();
                    self.reports.send(format_args!("drives off with {}", load.join(", ")));
                    Ok::<_, KafkaError>(())
                })
                .await?;
        }
    }
}
