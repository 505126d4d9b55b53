//! The measurement of one cell on a real broker. Only the calling thread is counted: the connections run on others.

use std::thread;
use std::time::Duration;

use benchmarks::measure::Mode;
use benchmarks::messages::{self, Candidate, Cost, Expected, Variant};
use benchmarks::sdk::Metrics;
use lapin::ConnectionProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use opentelemetry_sdk::trace::SpanData;
use tokio::runtime::Runtime;

use crate::cell::Side;
use crate::client::{Measured, PAYLOAD, QUEUE, properties};

/// The variable with the address of a broker.
pub(crate) const URL: &str = "RABBITMQ_URL";

/// The time in which all messages reach the queue of the consumer.
const ARRIVAL: Duration = Duration::from_secs(2);

pub(crate) fn measure(side: Side, candidate: Candidate, variant: Variant, mode: Mode) {
    let metrics = variant.install();
    let url = std::env::var(URL).unwrap_or_else(|_| panic!("{URL} is not set"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    let _entered = runtime.enter();
    let run = Run { runtime: &runtime, side, candidate, variant, mode, metrics };
    let connection = async || lapin::Connection::connect(&url, ConnectionProperties::default()).await;
    let connect = || runtime.block_on(connection()).expect("the broker answers");
    // Writes the messages to process.
    let bare = connect();
    let writer = runtime.block_on(bare.create_channel()).expect("the channel opens");
    match candidate {
        Candidate::Bare => {
            let connection = connect();
            let channel = runtime.block_on(connection.create_channel()).expect("the channel opens");
            run.run(&writer, &channel, &channel);
        }
        Candidate::Ours => {
            let connection = otel_amqp::Connection::connect(&url, ConnectionProperties::default());
            let connection = runtime.block_on(connection).expect("the broker answers");
            let channel = runtime.block_on(connection.create_channel()).expect("the channel opens");
            run.run(&writer, &channel, &channel);
        }
        #[cfg(feature = "comparison")]
        Candidate::Floor => {
            let connection = connect();
            let channel = runtime.block_on(connection.create_channel()).expect("the channel opens");
            let authority = url.parse::<lapin::uri::AMQPUri>().expect("the address is valid").authority;
            let floor = crate::floor::Floor::new(channel.clone(), (authority.host, authority.port));
            run.run(&writer, &channel, &floor);
        }
        #[cfg(not(feature = "comparison"))]
        Candidate::Floor => {}
    }
}

struct Run<'a> {
    runtime: &'a Runtime,
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<Metrics>,
}

impl Run<'_> {
    /// `channel` is lapin's channel inside of the measured one.
    fn run<M: Measured>(&self, writer: &lapin::Channel, channel: &lapin::Channel, measured: &M) {
        match self.side {
            Side::Confirmed => {
                let confirms = channel.confirm_select(ConfirmSelectOptions::default());
                self.runtime.block_on(confirms).expect("the channel has confirmations");
                self.measure(|counts| self.call(counts, measured.publish(self.variant)));
            }
            Side::Publish => self.measure(|counts| self.call(counts, measured.publish(self.variant))),
            Side::Process => {
                // The queue ends with its consumer.
                let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
                let declared = writer.queue_declare(QUEUE.as_str().into(), options, FieldTable::default());
                self.runtime.block_on(declared).expect("the queue is declared");
                let mut consumer = self.runtime.block_on(measured.consume());
                self.runtime.block_on(self.write(writer));
                // All messages are in the queue of the consumer before the first is counted.
                thread::sleep(ARRIVAL);
                self.measure(|counts| self.call(counts, measured.process(&mut consumer)));
            }
        }
    }

    async fn write(&self, writer: &lapin::Channel) {
        writer.confirm_select(ConfirmSelectOptions::default()).await.expect("the channel has confirmations");
        for _ in 0..messages::total(self.mode) {
            let (key, options) = (QUEUE.as_str().into(), BasicPublishOptions::default());
            let sent =
                writer.basic_publish("".into(), key, options, &PAYLOAD, properties(self.variant)).await;
            // Awaited below.
            drop(sent.expect("the message is sent"));
        }
        writer.wait_for_confirms().await.expect("the messages are confirmed");
    }

    fn measure(&self, one: impl FnMut(bool) -> Cost) {
        messages::measure(self.mode, |spans| self.check(spans), one);
    }

    fn call(&self, counts: bool, future: impl Future<Output = ()>) -> Cost {
        messages::call(self.variant, counts, future)
    }

    fn check(&self, spans: &[SpanData]) {
        let Some(metrics) = &self.metrics else { return };
        let (is_processing, queue) = (self.side == Side::Process, QUEUE.as_str());
        let operation = if is_processing { "process" } else { "publish" };
        let expected = Expected {
            candidate: self.candidate,
            variant: self.variant,
            span: &format!("{operation} {queue}"),
            is_processing,
        };
        expected.check(spans, metrics);
    }
}
