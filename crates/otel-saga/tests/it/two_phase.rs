//! Two-phase commits, with participants in memory.

mod admin;
#[cfg(feature = "tracing")]
mod alerts;
mod bank;
mod behaviour;
mod conventions;
mod models;
mod recovery;
mod trace;
