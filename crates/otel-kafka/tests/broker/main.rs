//! Producers and consumers on a real Kafka.
//!
//! The broker is the one that `cargo xtask services up kafka` starts. Without it these tests fail and say so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod group;
/// Tests of half a minute and more, which the quick checks leave out.
mod long {
    mod restart;
    mod unknown_topic;
}
mod records;
mod support;
mod transactions;
