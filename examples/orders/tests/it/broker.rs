//! What only a real cluster has: an address, and topics that stay if nobody removes them.
//!
//! The broker is the one that `cargo xtask services up kafka` starts. Without it these tests fail and say so.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::program;
use crate::run::BROKER;

pub(crate) const START: &str = "start the broker: `cargo xtask services up kafka`";

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// The address, from the environment or from what `cargo xtask services up` wrote.
pub(crate) fn brokers() -> String {
    let name = "KAFKA_BROKERS";
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("{name} is not set and {file} is not there: {START}"));
    let mut settings = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let (_, value) = settings
        .find(|(key, _)| *key == name)
        .unwrap_or_else(|| panic!("{name} is neither set nor in {file}: {START}"));
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
        // A broker learns from the controller, and tells nobody.
        assert!(began.elapsed() < PATIENCE, "{left:?}, {members:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_address_where_nobody_is_is_told() {
    let output = program(&["--brokers", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("error: cannot make topics at 127.0.0.1:1: "), "{complaint}");
    assert!(output.stdout.is_empty());
}
