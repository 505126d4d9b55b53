//! A set of tasks under one span, and its error: `cargo run -p otel-tasks --example tasks_spawn`.

mod common;

use std::io;

use otel_tasks::{JoinSet, RecordError as _, TracedError, in_span};

async fn read(path: &'static str) -> Result<usize, TracedError> {
    // Recorded here, once: the spans around it have the class of the error alone.
    std::fs::read(path).or_record().map(|bytes| bytes.len())
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints to its terminal")]
async fn main() -> Result<(), io::Error> {
    let telemetry = common::telemetry();
    let sizes = in_span("read files", async {
        let mut set = JoinSet::new();
        for path in ["/etc/hostname", "/nonexistent"] {
            set.spawn_with_span("read file", read(path));
        }
        set.join_all().await
    });
    for size in sizes.await {
        match size {
            Ok(size) => println!("{size} bytes"),
            Err(error) => println!("{error:#}"),
        }
    }
    telemetry.shutdown().map_err(io::Error::other)
}
