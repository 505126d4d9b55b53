//! Producers and consumers on a real Kafka.
//!
//! The broker is the one that `cargo xtask services up kafka` starts. Without it these tests fail and say so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod group;
mod records;
mod restart;
mod support;
mod transactions;
