//! A coordinator and a service in one process, with gRPC between them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bank;
mod remote;
