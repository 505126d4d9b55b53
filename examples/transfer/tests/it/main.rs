//! End-to-end tests of the program, and tests of a coordinator and a service over gRPC.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod bank;
mod output;
mod postgres;
mod program;
mod remote;
