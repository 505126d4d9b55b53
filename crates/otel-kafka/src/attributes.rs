//! Conversion of a record or message into span attributes, and the attributes from a client's configuration.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/) 1.44 (in Development) and
//! [their page on Kafka](https://opentelemetry.io/docs/specs/semconv/messaging/kafka/). The names are defined here
//! because the conventions for Kafka are not stable.

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::attributes::partition_id;
use rdkafka::{ClientConfig, TopicPartitionList};

pub(crate) const SYSTEM: &str = "kafka";
pub(crate) const KEY: &str = "messaging.kafka.message.key";
pub(crate) const OFFSET: &str = "messaging.kafka.offset";
pub(crate) const TOMBSTONE: &str = "messaging.kafka.message.tombstone";
/// False on a `send` span that ended without the broker's confirmation. Defined by this crate.
pub(crate) const CONFIRMED: &str = "messaging.kafka.delivery.confirmed";
/// The name of the `tracing` event of a rebalance.
#[cfg(feature = "tracing")]
pub(crate) const REBALANCE_EVENT: &str = "messaging.kafka.rebalance";

/// Adds the attributes that are known before a record is sent or a message is processed.
pub(crate) fn of_message(
    attributes: &mut MessageAttributes,
    partition: Option<i32>,
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
) {
    if let Some(partition) = partition {
        attributes.partition_id(i64::from(partition));
    }
    if let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()).filter(|key| !key.is_empty()) {
        attributes.push_bounded(KEY, key);
    }
    match payload {
        Some(payload) => attributes.body_size(payload.len()),
        None => attributes.push(KeyValue::new(TOMBSTONE, true)),
    };
}

/// Returns `messaging.kafka.offset`, or `None` for a negative offset, which stands for no offset.
pub(crate) fn offset(offset: i64) -> Option<KeyValue> {
    (offset >= 0).then(|| KeyValue::new(OFFSET, offset))
}

/// Sets the partition and the offset that the broker assigned to a message. `partition` is `None` if the span already
/// has it.
pub(crate) fn delivered(span: &SpanRef<'_>, partition: Option<i32>, at: i64) {
    let partition = partition.and_then(|partition| partition_id(i64::from(partition)));
    for attribute in [partition, offset(at)].into_iter().flatten() {
        span.set_attribute(attribute);
    }
}

/// The topic, partition and offset that a commit refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommitTarget {
    /// The topic, if all partitions belong to the same one.
    pub(crate) topic: Option<String>,
    /// The partition and offset, if there is only one partition. The offset is −1 if it is unknown.
    pub(crate) partition: Option<(i32, i64)>,
}

impl CommitTarget {
    pub(crate) fn from_list(list: &TopicPartitionList) -> Self {
        let elements = list.elements();
        let Some(first) = elements.first() else { return Self::default() };
        let topic = elements.iter().all(|other| other.topic() == first.topic());
        Self {
            topic: topic.then(|| first.topic().to_owned()),
            partition: (elements.len() == 1)
                .then(|| (first.partition(), first.offset().to_raw().unwrap_or(-1))),
        }
    }
}

/// The properties of a client's configuration that are recorded as attributes, and those that its loops need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientFacts {
    /// True if librdkafka stores the offset of each message that it delivers.
    pub(crate) stores_offsets: bool,
    /// True if librdkafka commits stored offsets.
    pub(crate) commits: bool,
    pub(crate) client_id: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) server: Option<(String, u16)>,
}

impl ClientFacts {
    pub(crate) fn from_config(config: &ClientConfig) -> Self {
        let set = |key: &str| config.get(key).filter(|value| !value.is_empty()).map(str::to_owned);
        let servers = config.get("bootstrap.servers").or_else(|| config.get("metadata.broker.list"));
        // The default of both settings is true.
        let holds = |key: &str| !config.get(key).is_some_and(is_false);
        Self {
            stores_offsets: holds("enable.auto.offset.store"),
            commits: holds("enable.auto.commit"),
            client_id: set("client.id"),
            group: set("group.id"),
            server: servers.and_then(single_server),
        }
    }
}

/// Returns true for the values that librdkafka reads as false.
fn is_false(value: &str) -> bool {
    ["false", "f", "0"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// Returns host and port if `servers` names a single broker. With several brokers the one that receives a message is
/// unknown.
fn single_server(servers: &str) -> Option<(String, u16)> {
    let address = servers.trim();
    let address = address.split_once("://").map_or(address, |(_, address)| address);
    if address.contains(',') {
        return None;
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
            (host, port.parse().ok()?)
        }
        // librdkafka's default port.
        _ => (address, 9092),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rdkafka::Offset;

    #[test]
    fn a_server_is_known_where_there_is_one() {
        for (servers, expected) in [
            ("broker:9093", Some(("broker", 9093))),
            ("SASL_SSL://broker:1", Some(("broker", 1))),
            (" broker ", Some(("broker", 9092))),
            ("[::1]:9", Some(("::1", 9))),
            ("[::1]", Some(("::1", 9092))),
            ("a:1,b:1", None),
            ("broker:what", None),
            ("", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(single_server(servers), expected, "{servers}");
        }
    }

    #[test]
    fn a_configuration_tells_client_and_group() {
        let mut config = ClientConfig::new();
        let defaults = ClientFacts { stores_offsets: true, commits: true, ..ClientFacts::default() };
        assert_eq!(ClientFacts::from_config(&config), defaults);
        config.set("client.id", "till-3").set("group.id", "").set("bootstrap.servers", "a:1,b:2");
        config.set("enable.auto.commit", "False").set("enable.auto.offset.store", "0");
        let expected = ClientFacts { client_id: Some("till-3".to_owned()), ..ClientFacts::default() };
        assert_eq!(ClientFacts::from_config(&config), expected);
    }

    #[test]
    fn no_negative_offset_is_recorded() {
        assert_eq!(offset(0), Some(KeyValue::new(OFFSET, 0)));
        assert_eq!(offset(-1001), None);
    }

    #[test]
    fn a_commit_tells_what_its_partitions_have_in_common() {
        let mut list = TopicPartitionList::new();
        assert_eq!(CommitTarget::from_list(&list), CommitTarget::default());
        list.add_partition_offset("a", 1, Offset::Offset(7)).unwrap();
        let one = CommitTarget { topic: Some("a".to_owned()), partition: Some((1, 7)) };
        assert_eq!(CommitTarget::from_list(&list), one);
        list.add_partition("a", 2);
        assert_eq!(CommitTarget::from_list(&list), CommitTarget { partition: None, ..one });
        list.add_partition("b", 2);
        assert_eq!(CommitTarget::from_list(&list), CommitTarget::default());
    }
}
