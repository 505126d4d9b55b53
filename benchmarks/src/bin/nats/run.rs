//! The measurement of one cell on a real server. Only the calling thread is counted: the connections run on another one.

use std::thread;
use std::time::Duration;

use benchmarks::measure::Mode;
use benchmarks::messages::{self, Candidate, Cost, Expected, Variant};
use benchmarks::sdk::Metrics;
use bytes::Bytes;
use futures_util::StreamExt as _;
use opentelemetry_sdk::trace::SpanData;
use tokio::runtime::Runtime;

use crate::cell::Side;
use crate::client::{Measured, SUBJECT, headers};

/// The variable with the address of a server.
pub(crate) const URL: &str = "NATS_URL";

/// The time in which a subscription reaches the server, and all messages the queue of the subscription.
const ARRIVAL: Duration = Duration::from_secs(2);

pub(crate) fn measure(side: Side, candidate: Candidate, variant: Variant, mode: Mode) {
    let metrics = variant.install();
    let url = std::env::var(URL).unwrap_or_else(|_| panic!("{URL} is not set"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the runtime starts");
    let _entered = runtime.enter();
    let bare = runtime.block_on(async_nats::connect(&url)).expect("the server answers");
    let run = Run { runtime: &runtime, bare: &bare, side, candidate, variant, mode, metrics };
    match candidate {
        Candidate::Bare => run.run(&runtime.block_on(async_nats::connect(&url)).expect("the server answers")),
        Candidate::Ours => run.run(&runtime.block_on(otel_nats::connect(&url)).expect("the server answers")),
        #[cfg(feature = "comparison")]
        Candidate::Floor => {
            let client = runtime.block_on(async_nats::connect(&url)).expect("the server answers");
            let address: async_nats::ServerAddr = url.parse().expect("the address is valid");
            run.run(&crate::floor::Floor::new(client, (address.host().to_owned(), address.port())));
        }
        #[cfg(not(feature = "comparison"))]
        Candidate::Floor => {}
    }
}

struct Run<'a> {
    runtime: &'a Runtime,
    /// Answers requests, and writes the messages to process.
    bare: &'a async_nats::Client,
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<Metrics>,
}

impl Run<'_> {
    fn run<M: Measured>(&self, client: &M) {
        match self.side {
            Side::Publish => {
                self.measure(|counts| self.call(counts, client.publish(self.variant, payload())))
            }
            Side::Request => {
                let mut requests = self.runtime.block_on(async {
                    let requests = self.bare.subscribe(SUBJECT).await.expect("the subscription is sent");
                    self.bare.flush().await.expect("the server has the subscription");
                    requests
                });
                // The server has the subscription before another connection sends a request.
                thread::sleep(ARRIVAL);
                let answering = self.bare.clone();
                self.runtime.spawn(async move {
                    while let Some(request) = requests.next().await {
                        if let Some(reply) = request.reply {
                            answering.publish(reply, Bytes::new()).await.expect("the reply is queued");
                        }
                    }
                });
                self.measure(|counts| self.call(counts, client.request(self.variant, payload())));
            }
            Side::Process => {
                let mut subscriber = self.runtime.block_on(client.subscribe(SUBJECT.to_owned()));
                thread::sleep(ARRIVAL);
                self.runtime.block_on(self.write(messages::total(self.mode)));
                // All messages are in the queue of the subscription before the first is counted.
                thread::sleep(ARRIVAL);
                self.measure(|counts| self.call(counts, client.process(&mut subscriber)));
            }
        }
    }

    async fn write(&self, messages: usize) {
        for _ in 0..messages {
            let sent = match headers(self.variant) {
                Some(headers) => self.bare.publish_with_headers(SUBJECT, headers, payload()).await,
                None => self.bare.publish(SUBJECT, payload()).await,
            };
            sent.expect("the message is queued");
        }
        self.bare.flush().await.expect("the messages are sent");
    }

    fn measure(&self, one: impl FnMut(bool) -> Cost) {
        messages::measure(self.mode, |spans| self.check(spans), one);
    }

    fn call(&self, counts: bool, future: impl Future<Output = ()>) -> Cost {
        messages::call(self.variant, counts, future)
    }

    fn check(&self, spans: &[SpanData]) {
        let Some(metrics) = &self.metrics else { return };
        let expected = Expected {
            candidate: self.candidate,
            variant: self.variant,
            span: &format!("{} {SUBJECT}", self.side.name()),
            is_processing: self.side == Side::Process,
        };
        expected.check(spans, metrics);
    }
}

fn payload() -> Bytes {
    Bytes::from_static(&[b'x'; 100])
}
