//! Two-phase commits between two databases of a real Postgres.
//!
//! The server is the one that `cargo xtask services up postgres` starts. Without it these tests fail and say so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod branches;
mod child;
mod instrumented;
mod journal;
mod killed;
#[cfg(feature = "tracing")]
#[path = "../it/lines.rs"]
mod lines;
#[cfg(feature = "tracing")]
mod lost;
mod replies;
#[path = "../crash/spans.rs"]
mod spans;
mod support;
mod transfers;
