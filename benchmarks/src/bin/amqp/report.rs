//! The tables of the benchmark.

use benchmarks::cli::Options;
use benchmarks::messages::Tables;
use benchmarks::process::Failure;
use benchmarks::results::Document;

use crate::cell::Side;
use crate::run::URL;

const TABLES: Tables = Tables {
    title: "RabbitMQ",
    url: URL,
    service: "rabbitmq",
    clients: ["lapin", "otel-amqp"],
    sides: &[
        (
            Side::Confirmed.name(),
            "`Channel::basic_publish` until the confirmation, over lapin's with one `traceparent` written by hand",
        ),
        (
            Side::Publish.name(),
            "`Channel::basic_publish` without confirmations, over lapin's with one `traceparent` written by hand",
        ),
        (Side::Process.name(), "`Consumer::next` and `process`, over lapin's `next`"),
    ],
};

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    TABLES.add(options, document)
}
