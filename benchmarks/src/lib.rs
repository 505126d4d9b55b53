//! What all benchmarks share: counting, timing, an SDK that keeps nothing, and processes under valgrind.
//!
//! Each measurement is taken in a process of its own, since the providers and the propagator are global.

pub mod allocations;
pub mod measure;
pub mod process;
pub mod sdk;
pub mod table;
