//! The topic of the paced cells, created before and deleted after them.

use benchmarks::process::Failure;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use crate::paced::{PATIENCE, TOPIC};

/// Creates the topic.
pub(crate) fn create(brokers: &str) -> Result<(), Failure> {
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1));
    let results = administer(brokers, async |admin, options| admin.create_topics([&topic], options).await)?;
    // The topic exists if an earlier run was killed.
    let is_bad = |(_, code): &(String, RDKafkaErrorCode)| *code != RDKafkaErrorCode::TopicAlreadyExists;
    first(results.into_iter().filter_map(Result::err).filter(is_bad))
}

/// Deletes the topic.
pub(crate) fn delete(brokers: &str) -> Result<(), Failure> {
    let results = administer(brokers, async |admin, options| admin.delete_topics(&[TOPIC], options).await)?;
    first(results.into_iter().filter_map(Result::err))
}

fn administer<T>(
    brokers: &str,
    action: impl AsyncFnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> KafkaResult<T>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _entered = runtime.enter();
    let admin = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    Ok(runtime.block_on(action(&admin, &options))?)
}

fn first(mut errors: impl Iterator<Item = (String, RDKafkaErrorCode)>) -> Result<(), Failure> {
    errors.next().map_or(Ok(()), |(topic, code)| Err(format!("{topic}: {code}").into()))
}
