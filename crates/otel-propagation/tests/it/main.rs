//! Behaviour of otel-propagation through its public API.

// Clippy lets a test panic, but not the functions that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod b3;
mod baggage;
mod carriers;
mod composite;
mod environment;
mod hostile;
mod links;
mod pass_through;
mod span_contexts;
mod support;
mod trace_context;
mod w3c;
