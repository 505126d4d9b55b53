//! The common parts of all soaks: counting of spans, outcome classes, and the checks at the end.
//!
//! A soak is a binary of this package (`src/bin/NAME`, started by `cargo xtask soak NAME`). It generates traffic over
//! real sockets, aborts part of it, and compares the counts of an observer outside of the instrumentation with the
//! spans and the metrics, by outcome class.

mod arguments;
mod broker;
mod class;
mod command;
mod counts;
mod handling;
mod memory;
mod messaging;
mod nats;
mod rabbitmq;
mod random;
mod report;
mod server;
mod setting;
mod spans;
mod waiting;

pub use arguments::Arguments;
pub use broker::Broker;
pub use class::{Class, Tally};
pub use command::{run, run_with};
pub use counts::{add, equal, get};
pub use handling::{End, HandlerError};
pub use memory::{Memory, resident};
pub use messaging::MessagingTelemetry;
pub use nats::start_nats;
pub use rabbitmq::{FRAME_MAX, start_rabbitmq};
pub use random::Random;
pub use report::{Report, Side};
pub use server::{Server, free_ports};
pub use setting::setting;
pub use spans::{CountingSpan, CountingTracer, CountingTracerProvider, SpanCounts};
pub use waiting::wait;
