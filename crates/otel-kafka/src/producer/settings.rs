//! The settings of a producer on which its instrumentation depends.
//!
//! Their meaning is that of librdkafka:
//! <https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>.

use rdkafka::ClientConfig;

/// The settings of a producer on which its instrumentation depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerSettings {
    /// True if a record may follow its successors when it is sent again: the producer is neither transactional nor
    /// idempotent nor gapless.
    pub(crate) may_reorder: bool,
    /// True if successful deliveries are reported.
    pub(crate) reports_success: bool,
    /// True if brokers acknowledge records.
    pub(crate) is_acknowledged: bool,
    /// The largest batch of several records in bytes; 0 if each record is a batch of its own.
    pub(crate) max_batch: usize,
}

impl ProducerSettings {
    pub(crate) fn from_config(config: &ClientConfig) -> Self {
        let is_true = |key| resolved(config, key).as_deref() == Some("true");
        let is_transactional = config.get("transactional.id").is_some_and(|id| !id.is_empty());
        let is_ordered =
            is_transactional || is_true("enable.idempotence") || is_true("enable.gapless.guarantee");
        let acks = ["acks", "request.required.acks"].into_iter().find(|key| config.get(key).is_some());
        let acks = acks.and_then(|key| resolved(config, key));
        let number = |key| resolved(config, key).and_then(|value| value.parse().ok()).unwrap_or(usize::MAX);
        let max_batch = number("batch.size").min(number("message.max.bytes"));
        Self {
            max_batch: if number("batch.num.messages") == 1 { 0 } else { max_batch },
            may_reorder: !is_ordered,
            reports_success: !is_true("delivery.report.only.error"),
            is_acknowledged: acks.as_deref() != Some("0"),
        }
    }
}

/// Returns a setting as librdkafka normalizes it, for instance `true` for `1`, or its default. `None` if it is invalid.
fn resolved(config: &ClientConfig, key: &str) -> Option<String> {
    let mut single = ClientConfig::new();
    if let Some(value) = config.get(key) {
        single.set(key, value);
    }
    // librdkafka counts the terminating zero byte as part of the value.
    let value = single.create_native_config().ok()?.get(key).ok()?;
    Some(value.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_librdkafka_reads_them() {
        let plain = ProducerSettings {
            may_reorder: true,
            reports_success: true,
            is_acknowledged: true,
            max_batch: 1_000_000,
        };
        let ordered = ProducerSettings { may_reorder: false, ..plain };
        let failures = ProducerSettings { reports_success: false, ..plain };
        let unacknowledged = ProducerSettings { is_acknowledged: false, ..plain };
        for (key, value, expected) in [
            ("linger.ms", "5", plain),
            ("transactional.id", "", plain),
            ("transactional.id", "t", ordered),
            ("enable.idempotence", "false", plain),
            ("enable.idempotence", "true", ordered),
            ("enable.idempotence", "1", ordered),
            ("enable.gapless.guarantee", "T", ordered),
            ("delivery.report.only.error", "true", failures),
            ("acks", "0", unacknowledged),
            ("acks", "all", plain),
            ("request.required.acks", "0", unacknowledged),
            ("batch.size", "1500", ProducerSettings { max_batch: 1_500, ..plain }),
            ("message.max.bytes", "2000", ProducerSettings { max_batch: 2_000, ..plain }),
            ("batch.num.messages", "1", ProducerSettings { max_batch: 0, ..plain }),
        ] {
            let mut config = ClientConfig::new();
            config.set(key, value);
            assert_eq!(ProducerSettings::from_config(&config), expected, "{key}={value}");
        }
    }
}
