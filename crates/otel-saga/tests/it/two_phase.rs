//! Two-phase commits, with participants in memory.

mod bank;
mod behaviour;
mod models;
mod recovery;
mod trace;
