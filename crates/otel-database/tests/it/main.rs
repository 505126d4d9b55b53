//! Tests of the family on its own: a toy client in place of a driver.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod clients;
mod conformance;
mod conventions;
mod ends;
mod pools;
mod spans;
mod statements;
mod support;
mod toy;
