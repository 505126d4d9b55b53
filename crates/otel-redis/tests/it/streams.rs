//! Messages in Redis Streams, on a real server.

mod conformance;
mod consuming;
mod producing;
pub(crate) mod support;
