//! The cluster: librdkafka's mock inside of this process, or a real one.

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

/// The topics, and how many partitions they have.
const TOPICS: [(&str, i32); 5] =
    [("orders", 2), ("orders.dead", 1), ("parcels", 1), ("payments", 1), ("receipts", 1)];

/// The consumer groups.
const GROUPS: [&str; 5] = ["packing", "support", "carrier", "billing", "mail"];

/// How long a cluster has to answer for the first time: an address where there is none is not found out sooner.
const CONTACT: Duration = Duration::from_secs(15);

/// A cluster with the topics.
#[derive(Debug)]
pub(crate) struct Cluster {
    brokers: String,
    /// What is before all names, so that they are nobody else's.
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
        /// The topics that this program has made.
        made: Vec<String>,
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
    /// Starts the mock cluster. It cannot be sent between threads, so it has one of its own.
    pub(crate) async fn mock() -> Result<Self, Failure> {
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("mock-cluster".to_owned()).spawn(move || {
            let cluster = match mock_with_topics() {
                Ok(cluster) => cluster,
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            let _ = tell.send(Ok(cluster.bootstrap_servers()));
            // Until the sender is dropped.
            let _ = stopped.recv();
        })?;
        let brokers = told.await??;
        Ok(Self { brokers, prefix: String::new(), kind: Kind::Mock { stop, thread } })
    }

    /// Makes the topics in a real cluster.
    pub(crate) async fn at(brokers: &str) -> Result<Self, Failure> {
        let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        // As random as a hash map's seed.
        let prefix = format!("demo-{:06x}.", RandomState::new().hash_one("") & 0xff_ffff);
        let names = TOPICS.map(|(name, partitions)| (format!("{prefix}{name}"), partitions));
        // −1 is the cluster's own default.
        let topics =
            names.each_ref().map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(-1)));
        let created = admin.create_topics(&topics, &options(CONTACT)).await;
        let failed = |error: &dyn fmt::Display| format!("cannot make topics at {brokers}: {error}");
        let (mut made, mut refused) = (Vec::new(), None);
        for created in created.map_err(|error| failed(&error))? {
            match created {
                Ok(topic) => made.push(topic),
                Err((topic, error)) => refused = Some(failed(&format_args!("{topic}: {error}"))),
            }
        }
        let cluster = Self { brokers: brokers.to_owned(), prefix, kind: Kind::Real { admin, made } };
        match refused {
            None => Ok(cluster),
            Some(refused) => {
                cluster.close().await;
                Err(refused.into())
            }
        }
    }

    /// What is before the names of this run's topics; `None` if they are as in the program.
    pub(crate) fn prefix(&self) -> Option<&str> {
        Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty())
    }

    /// What every client needs to know.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        if let Kind::Mock { .. } = self.kind {
            // A mock broker that has nothing to give looks for something new only after so long.
            config.set("fetch.wait.max.ms", "10");
        }
        config
    }

    /// The name that a topic, a group or a transactional id has in this cluster.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Removes what was made; what cannot be removed is told in the log.
    pub(crate) async fn close(self) {
        let groups = GROUPS.map(|name| self.name(name));
        match self.kind {
            Kind::Mock { stop, thread } => {
                drop(stop);
                // It ends at once, and a panic of it has been printed.
                let _ = thread.join();
            }
            Kind::Real { admin, made } => {
                let groups = groups.each_ref().map(String::as_str);
                removed(admin.delete_groups(&groups, &options(PATIENCE)).await);
                let made: Vec<_> = made.iter().map(String::as_str).collect();
                removed(admin.delete_topics(&made, &options(PATIENCE)).await);
            }
        }
    }
}

fn removed(results: KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>) {
    match results {
        Ok(results) => {
            for (name, error) in results.into_iter().filter_map(Result::err) {
                // A group that nobody had time to join was never there.
                if error != RDKafkaErrorCode::GroupIdNotFound {
                    warn!(%error, "{name} is not removed");
                }
            }
        }
        Err(error) => warn!(%error, "what was made is not removed"),
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
