//! Behaviour through the public API; pictures are compared in full.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

mod exporter;
mod html;
mod limits;
mod odd;
mod open_spans;
mod otlp;
mod page_file;
mod program;
mod sample;
mod text;
