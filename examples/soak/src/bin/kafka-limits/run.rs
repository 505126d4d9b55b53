//! One run: a producer sends its records to a topic with a limit, and a consumer reads the topic to its end.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Instant;

use futures_util::future::join_all;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::FutureRecord;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use soak::{Arguments, Class, Tally};

use crate::clients::{Consumer, Kind, PATIENCE, Producer, Step};
use crate::plan::{Plan, Record, chunks};

/// Sends all records, and returns the numbers of those that a consumer must read, in their order.
pub(crate) async fn send<P: Producer>(
    producer: &P,
    (kind, topic): (Kind, &str),
    arguments: Arguments,
    observed: &Tally,
) -> Vec<u64> {
    let run = |step: Step| {
        let result = producer.run(step);
        count(observed, step.name(), &result, None);
    };
    let has_transactions = kind == Kind::Transactional;
    let mut delivered = Vec::new();
    if has_transactions {
        run(Step::Init);
    }
    for chunk in chunks(arguments.seed, arguments.requests, arguments.concurrency) {
        let is_aborted = has_transactions && chunk.is_aborted;
        if has_transactions {
            run(Step::Begin);
        }
        let (mut deliveries, mut first) = (Vec::new(), None);
        for number in chunk.numbers {
            let plan = Plan::new(arguments.seed, number);
            let mut record = FutureRecord::to(topic).key(&*plan.key).payload(&*plan.payload).partition(0);
            record.headers = plan.headers;
            match producer.enqueue(record) {
                // librdkafka ends in a fatal error, with and without instrumentation, if it aborts a transaction of which the
                // broker knows no partition yet.
                Ok(delivery) if is_aborted && first.is_none() => first = Some((number, delivery.await)),
                Ok(delivery) => deliveries.push(async move { (number, delivery.await) }),
                Err(error) => count(observed, "send", &Err(error), None),
            }
        }
        if has_transactions {
            run(if is_aborted { Step::Abort } else { Step::Commit });
        }
        for (number, result) in first.into_iter().chain(join_all(deliveries).await) {
            count(observed, "send", &result, is_aborted.then_some("aborted"));
            if result.is_ok() && !is_aborted {
                delivered.push(number);
            }
        }
    }
    delivered
}

/// Counts the outcome of an operation. `purged` is the error type of a record that an abort has removed from the queue.
fn count(observed: &Tally, operation: &str, result: &KafkaResult<()>, purged: Option<&str>) {
    let mut class = Class::default();
    class.operation = Some(operation.to_owned());
    class.error = result.as_ref().err().map(|error| {
        let code = error.rdkafka_error_code();
        let is_purged = matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
        match (purged.filter(|_| is_purged), code) {
            (Some(purged), _) => purged.to_owned(),
            (None, Some(code)) => format!("{code:?}"),
            (None, None) => "_OTHER".to_owned(),
        }
    });
    observed.add(class);
}

/// Returns the configuration of a consumer that notes the end of its partition.
pub(crate) fn consumer_config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    config
}

/// Returns a list of the only partition of the topic, from its beginning.
pub(crate) fn beginning(topic: &str) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)?;
    Ok(list)
}

/// Reads the committed records of the topic up to its end.
pub(crate) fn read(consumer: &impl Consumer, seed: u64) -> Result<Vec<Record>, Box<dyn Error>> {
    let (mut records, mut since) = (Vec::new(), Instant::now());
    loop {
        match consumer.next(seed) {
            Some(Ok(record)) => {
                records.push(record);
                since = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(records),
            Some(Err(error)) => return Err(error.into()),
            None if since.elapsed() > PATIENCE => return Err("the end of a topic was not reached".into()),
            None => {}
        }
    }
}

/// The comparison of the records of a topic with those that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) read: usize,
    pub(crate) lost: usize,
    pub(crate) foreign: usize,
    pub(crate) doubled: usize,
    pub(crate) reordered: usize,
    pub(crate) changed: usize,
}

impl Comparison {
    pub(crate) fn new(delivered: &[u64], records: &[Record]) -> Self {
        let expected: BTreeSet<_> = delivered.iter().copied().collect();
        let read: BTreeSet<_> = records.iter().map(|record| record.number).collect();
        Self {
            read: records.len(),
            lost: expected.difference(&read).count(),
            foreign: read.difference(&expected).count(),
            doubled: records.len() - read.len(),
            reordered: records.windows(2).filter(|pair| pair[0].number > pair[1].number).count(),
            changed: records.iter().filter(|record| !record.is_unchanged).count(),
        }
    }

    /// Returns true if nothing is wrong.
    pub(crate) fn is_exact(&self) -> bool {
        *self == Self { read: self.read, ..Self::default() }
    }
}

/// Creates a consumer of otel-kafka or rdkafka that reads the topic from its beginning.
macro_rules! reader {
    ($consumer:ty, $address:expr, $topic:expr) => {{
        let consumer: $consumer = $crate::run::consumer_config($address).create()?;
        consumer.assign(&$crate::run::beginning($topic)?)?;
        consumer
    }};
}
pub(crate) use reader;

/// Reads the topic with rdkafka's consumer.
pub(crate) fn read_plain(address: &str, topic: &str, seed: u64) -> Result<Vec<Record>, Box<dyn Error>> {
    let consumer = reader!(rdkafka::consumer::BaseConsumer, address, topic);
    read(&consumer, seed)
}
