//! Tests that need a real cluster: the deletion of topics and groups, and an unreachable address.
//!
//! The tests need the broker that `cargo xtask services up kafka` starts, and fail without it.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::program;
use crate::run::BROKER;

pub(crate) const START: &str = "start the broker: `cargo xtask services up kafka`";

/// Timeout, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the address from the environment or from the file that `cargo xtask services up` writes.
pub(crate) fn brokers() -> String {
    let name = "KAFKA_BROKERS";
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("{name} is not set and {file} does not exist: {START}"));
    let mut settings = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let (_, value) = settings
        .find(|(key, _)| *key == name)
        .unwrap_or_else(|| panic!("{name} is set neither in the environment nor in {file}: {START}"));
    value.trim_matches('\'').to_owned()
}

#[test]
fn nothing_is_left_in_the_cluster() {
    let prefix = BROKER.prefix.as_deref().unwrap();
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    let began = Instant::now();
    loop {
        let topics = client.fetch_metadata(None, PATIENCE).unwrap();
        let left: Vec<_> = topics
            .topics()
            .iter()
            .map(|topic| topic.name())
            .filter(|name| name.starts_with(prefix))
            .collect();
        let groups = client.fetch_group_list(None, PATIENCE).unwrap();
        let members: Vec<_> = groups
            .groups()
            .iter()
            .map(|group| group.name())
            .filter(|name| name.starts_with(prefix))
            .collect();
        if left.is_empty() && members.is_empty() {
            break;
        }
        // Polled, because a broker learns of the deletion later than the controller.
        assert!(began.elapsed() < PATIENCE, "{left:?}, {members:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_unreachable_address_is_reported() {
    let output = program(&["--brokers", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: cannot create topics at 127.0.0.1:1: "), "{stderr}");
    assert!(output.stdout.is_empty());
}
