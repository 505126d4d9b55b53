//! Two-phase commits, with participants in memory.

#[cfg(feature = "tracing")]
mod alerts;
mod bank;
mod behaviour;
mod conventions;
mod models;
mod operator;
mod recovery;
mod trace;
