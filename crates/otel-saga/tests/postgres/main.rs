//! The journal in Postgres, on a real one.
//!
//! It is the one that `cargo xtask services up postgres` starts. Without it these tests fail and say so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clocked;
mod journals;
mod support;
