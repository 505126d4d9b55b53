//! The cluster: librdkafka's mock cluster in this process, or a real one.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::oneshot;
use tracing::warn;

use crate::{Failure, PATIENCE};

/// The topics and their numbers of partitions.
const TOPICS: [(&str, i32); 6] =
    [("orders", 2), ("orders.dead", 1), ("parcels", 1), ("payments", 1), ("receipts", 1), ("returns", 2)];

/// The consumer groups.
const GROUPS: [&str; 6] = ["packing", "support", "carrier", "billing", "mail", "desk"];

/// Timeout of the first request, after which a wrong address is reported.
const CONNECT: Duration = Duration::from_secs(15);

/// A cluster with the topics of the demonstration.
#[derive(Debug)]
pub(crate) struct Cluster {
    brokers: String,
    /// The prefix of all names, which keeps them apart from others in the cluster.
    prefix: String,
    kind: Kind,
}

enum Kind {
    Mock {
        stop: mpsc::Sender<()>,
        thread: JoinHandle<()>,
    },
    Real {
        admin: AdminClient<DefaultClientContext>,
        /// The topics that this program has created.
        topics: Vec<String>,
    },
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mock { .. } => "Mock",
            Self::Real { .. } => "Real",
        })
    }
}

impl Cluster {
    /// Starts the mock cluster in a dedicated thread, because it is not `Send`.
    pub(crate) async fn mock() -> Result<Self, Failure> {
        let (ready_sender, ready) = oneshot::channel();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("mock-cluster".to_owned()).spawn(move || {
            let cluster = match mock_with_topics() {
                Ok(cluster) => cluster,
                Err(error) => {
                    let _ = ready_sender.send(Err(error));
                    return;
                }
            };
            let _ = ready_sender.send(Ok(cluster.bootstrap_servers()));
            // Blocks until the sender is dropped.
            let _ = stopped.recv();
        })?;
        let brokers = ready.await??;
        Ok(Self { brokers, prefix: String::new(), kind: Kind::Mock { stop, thread } })
    }

    /// Creates the topics in a real cluster.
    pub(crate) async fn connect(brokers: &str) -> Result<Self, Failure> {
        let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        // A hash map's random seed makes the prefix unique.
        let prefix = format!("demo-{:06x}.", RandomState::new().hash_one("") & 0xff_ffff);
        let names = TOPICS.map(|(name, partitions)| (format!("{prefix}{name}"), partitions));
        // −1 selects the cluster's default replication factor.
        let topics =
            names.each_ref().map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(-1)));
        let created = admin.create_topics(&topics, &options(CONNECT)).await;
        let failed = |error: &dyn fmt::Display| format!("cannot create topics at {brokers}: {error}");
        let (mut topics, mut failure) = (Vec::new(), None);
        for result in created.map_err(|error| failed(&error))? {
            match result {
                Ok(topic) => topics.push(topic),
                Err((topic, error)) => failure = Some(failed(&format_args!("{topic}: {error}"))),
            }
        }
        let cluster = Self { brokers: brokers.to_owned(), prefix, kind: Kind::Real { admin, topics } };
        match failure {
            None => Ok(cluster),
            Some(failure) => {
                cluster.close().await;
                Err(failure.into())
            }
        }
    }

    /// The prefix of the topics' names; `None` on the mock cluster.
    pub(crate) fn prefix(&self) -> Option<&str> {
        Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty())
    }

    /// The common configuration of all clients.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        if let Kind::Mock { .. } = self.kind {
            // An idle mock broker answers a fetch only after this time, even if a message arrives earlier.
            config.set("fetch.wait.max.ms", "10");
        }
        config
    }

    /// The name of a topic, group or transactional ID in this cluster.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Deletes the topics and groups; failures are logged.
    pub(crate) async fn close(self) {
        let groups = GROUPS.map(|name| self.name(name));
        match self.kind {
            Kind::Mock { stop, thread } => {
                drop(stop);
                // Returns at once; a panic has been printed by the panic hook.
                let _ = thread.join();
            }
            Kind::Real { admin, topics } => {
                let groups = groups.each_ref().map(String::as_str);
                log_failures(admin.delete_groups(&groups, &options(PATIENCE)).await);
                let topics: Vec<_> = topics.iter().map(String::as_str).collect();
                log_failures(admin.delete_topics(&topics, &options(PATIENCE)).await);
            }
        }
    }
}

fn log_failures(results: KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>) {
    match results {
        Ok(results) => {
            for (name, error) in results.into_iter().filter_map(Result::err) {
                // A group without members so far does not exist.
                if error != RDKafkaErrorCode::GroupIdNotFound {
                    warn!(%error, "cannot delete {name}");
                }
            }
        }
        Err(error) => warn!(%error, "cannot delete topics or groups"),
    }
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}

fn mock_with_topics() -> KafkaResult<MockCluster<'static, DefaultProducerContext>> {
    let cluster = MockCluster::new(1)?;
    for (name, partitions) in TOPICS {
        cluster.create_topic(name, partitions, 1)?;
    }
    Ok(cluster)
}
