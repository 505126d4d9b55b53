//! The program as a user runs it; and a coordinator and a service in one process, with gRPC between them.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod bank;
mod output;
mod postgres;
mod program;
mod remote;
