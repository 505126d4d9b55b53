//! Kafka for a stage: librdkafka's mock cluster, or a topic in real brokers.

use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::oneshot;

use crate::stage::PATIENCE;
use crate::{Failure, ORDER_PLACED};

/// The thread of a mock cluster, which ends when the sender is dropped.
pub(crate) type Mock = (blocking::Sender<()>, JoinHandle<()>);

/// Starts librdkafka's mock cluster in a thread of its own, because it is not `Send`.
pub(crate) async fn mock_cluster() -> Result<(String, Mock), Failure> {
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = blocking::channel::<()>();
    let thread = std::thread::Builder::new().name("mock-cluster".to_owned()).spawn(move || {
        let cluster = MockCluster::<DefaultProducerContext>::new(1);
        let cluster = cluster.and_then(|cluster| cluster.create_topic(ORDER_PLACED, 1, 1).map(|()| cluster));
        match cluster {
            Ok(cluster) => {
                let _ = ready.send(Ok(cluster.bootstrap_servers()));
                // Ends when the sender is dropped.
                let _ = stopped.recv();
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    })?;
    Ok((started.await??, (stop, thread)))
}

/// Creates the topic of orders unless it exists.
pub(crate) async fn create_topic(brokers: &str) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let topic = NewTopic::new(ORDER_PLACED, 1, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    for created in admin.create_topics([&topic], &options).await? {
        match created {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(format!("cannot create the topic {topic}: {code}").into()),
        }
    }
    Ok(())
}
