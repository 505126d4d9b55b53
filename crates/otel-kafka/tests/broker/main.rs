//! Producers and consumers with a real Kafka broker.
//!
//! `cargo xtask services up kafka` starts the broker. Without it these tests fail with a message that names this
//! command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod group;
mod limits;
/// Tests that take half a minute or more, which the quick checks skip.
mod long {
    mod overdue;
    mod restart;
    mod unknown_topic;
}
mod rebalances;
mod records;
mod support;
mod transactions;
