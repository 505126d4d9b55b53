//! The behaviour of otel-resilience through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod breaker;
mod bulkhead;
mod conformance;
mod contexts;
mod conventions;
mod deadline;
mod deadline_servers;
mod grpc;
mod hedge;
mod publishing;
mod rate_limit;
mod replay;
mod retry;
mod retry_limits;
mod sockets;
mod support;
mod without_layers;
