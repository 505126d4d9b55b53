//! The server and the check of a configuration, over real sockets; the collector is that of `cargo xtask services`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

mod client;
mod doctor;
mod guard;
mod limits;
mod long;
mod receive;
