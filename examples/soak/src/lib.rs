//! What all soaks share: counting without keeping, and the checks at the end.
//!
//! A soak is a binary of this package (`src/bin/NAME`, started by `cargo xtask soak NAME`). It makes traffic over real
//! sockets, cuts much of it off, and then compares what an observer outside of the instrumentation has counted with the
//! spans and the metrics, by outcome class.

mod arguments;
mod class;
mod memory;
mod random;
mod report;
mod spans;

pub use arguments::Arguments;
pub use class::{Class, Tally};
pub use memory::Memory;
pub use random::Random;
pub use report::{Report, Side};
pub use spans::{CountingSpan, CountingTracer, CountingTracerProvider, SpanCounts};
