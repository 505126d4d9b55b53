//! Behaviour of the crate through its public API.

mod conformance;
mod ends;
mod exporters;
mod logs;
mod metrics;
mod registry;
mod tree;
mod waits;
