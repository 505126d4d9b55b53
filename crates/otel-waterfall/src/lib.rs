//! Draws finished spans as a waterfall in the terminal or as an HTML page, without a tracing backend.
//!
#![doc = include_str!("../README.md")]

mod bar;
mod columns;
mod duration;
mod escape;
mod exporter;
mod gather;
mod layout;
mod model;
mod open_spans;
mod otlp;
mod page;
mod sdk;
mod signals;
mod style;
mod text;
mod waterfall;

pub use exporter::Exporter;
pub use model::{Event, Link, Span, Trace};
pub use open_spans::OpenSpans;
pub use otlp::{Error, from_otlp_json};
pub use page::{Page, html};
pub use style::{Color, Style};
pub use text::text;
pub use waterfall::Waterfall;
