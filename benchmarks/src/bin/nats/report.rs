//! The tables of the benchmark.

use benchmarks::cli::Options;
use benchmarks::messages::Tables;
use benchmarks::process::Failure;
use benchmarks::results::Document;

use crate::cell::Side;
use crate::run::URL;

const TABLES: Tables = Tables {
    title: "NATS",
    url: URL,
    service: "nats",
    clients: ["async-nats", "otel-nats"],
    sides: &[
        (Side::Publish.name(), "`Client::publish`, over async-nats' with one `traceparent` written by hand"),
        (Side::Request.name(), "`Client::request`, over async-nats' with one `traceparent` written by hand"),
        (Side::Process.name(), "`Subscriber::next` and `process`, over async-nats' `next`"),
    ],
};

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    TABLES.add(options, document)
}
