//! Draws finished spans as a waterfall in the terminal or as an HTML page, without a tracing backend.
//!
#![doc = include_str!("../README.md")]

mod bar;
mod columns;
#[cfg(feature = "serve")]
mod doctor;
mod duration;
mod escape;
mod exporter;
mod gather;
mod layout;
mod model;
mod open_spans;
mod otlp;
mod page;
mod page_file;
mod sdk;
#[cfg(feature = "serve")]
mod serve;
mod signals;
mod style;
mod text;
mod waterfall;

#[cfg(feature = "serve")]
pub use doctor::{Diagnosis, Finding, Step, diagnose};
pub use exporter::Exporter;
pub use model::{Event, Link, Span, Trace};
pub use open_spans::OpenSpans;
pub use otlp::{Error, from_otlp_json};
pub use page::{Page, html};
#[cfg(feature = "serve")]
pub use serve::{BoundServer, Server};
pub use style::{Color, Style};
pub use text::text;
pub use waterfall::Waterfall;
