//! The suite that all transports share, mounted for publishing to a stream and for consuming it.

use std::future::ready;

use async_nats::jetstream as bare_jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishError;
use futures_util::StreamExt as _;
use otel_nats::jetstream::{self, Context};
use otel_testing::Recorder;
use otel_testing::conformance::messaging::{self, handle};
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};

use crate::conformance::{Side as Core, arrived, drive, map};
use crate::jetstream::{durable, message, stream_config};
use crate::support::{LONG, bare, next, synchronize, unique};

mod publishers {
    otel_testing::conformance!(outbound, super::Side::publisher);
}

mod consumers {
    otel_testing::conformance!(inbound, super::Side::consumer);
}

const NOT_STORED: Reason = "a stream stores no message with more than 64 KiB of headers.";

struct Side {
    core: Core,
    /// The stream of all runs, whose number must not change the number of series.
    stream: String,
    subject: String,
}

impl Side {
    fn publisher() -> Self {
        Self::new(Core::publisher())
    }

    fn consumer() -> Self {
        Self::new(Core::consumer())
    }

    fn new(core: Core) -> Self {
        Self { core, stream: unique("CONFORMANCE"), subject: unique("conformance") }
    }

    async fn context(&self, recorder: &Recorder, scenario: Scenario) -> Context {
        let context = jetstream::new(Core::client(recorder, scenario).await);
        let config = stream_config(&self.stream, &self.subject);
        context.inner().get_or_create_stream(config).await.unwrap();
        context
    }

    async fn publish(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let context = self.context(recorder, scenario).await;
        let (other, inner) = (bare().await, context.inner());
        let mut inspector = other.subscribe(self.subject.clone()).await.unwrap();
        synchronize(&other).await;
        let (mut runs, mut sent) = (Vec::new(), Vec::new());
        for instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            let headers = map(scenario.headers(Role::Outbound));
            let to = match scenario.flow() {
                // No stream has this subject.
                Flow::Fails => unique("nobody"),
                _ => self.subject.clone(),
            };
            let payload = "one book".into();
            let publishing = async {
                match instrumented {
                    true => context.publish_with_headers(to, headers, payload).await?.await,
                    false => inner.publish_with_headers(to, headers, payload).await?.await,
                }
            };
            let result: Result<_, CallResult> = drive::<_, PublishError>(scenario, publishing).await;
            if matches!(scenario.flow(), Flow::Succeeds | Flow::DroppedAtAwait) {
                let message = next(&mut inspector).await;
                probe.note(ProbePoint::Arrival);
                sent = arrived(&message);
            }
            let value = |ack: bare_jetstream::publish::PublishAck| CallResult::Value(ack.stream.into_bytes());
            runs.push(Run::new(result.map_or_else(|ended| ended, value), &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare).with_sent(sent)
    }

    /// Creates a consumer that gets the messages from now on, in place of that of an earlier run.
    async fn create(&self, context: &bare_jetstream::Context, name: &str) -> PullConsumer {
        // Fails in the first run.
        let _ = context.delete_consumer_from_stream(name, &self.stream).await;
        let config = pull::Config { deliver_policy: DeliverPolicy::New, ..durable(name) };
        context.create_consumer_on_stream(config, &self.stream).await.unwrap()
    }

    async fn consume(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let context = self.context(recorder, scenario).await;
        let writer = bare_jetstream::new(bare().await);
        let other = bare_jetstream::new(bare().await);
        let consumer = context.consumer(self.create(context.inner(), "till").await);
        let mut traced = consumer.messages().await.unwrap();
        let mut untraced = self.create(&other, "bare").await.messages().await.unwrap();
        let second = scenario == Scenario::SecondOperation;
        let to = match scenario {
            Scenario::UnboundedOperation(_) => format!("{}.{}", self.subject, scenario.attacker_value()),
            _ => format!("{}.created", self.subject),
        };
        let publish = async |headers| {
            let published = writer.publish_with_headers(to.clone(), map(headers), "one book".into()).await;
            published.unwrap().await.unwrap();
        };
        publish(scenario.headers(Role::Inbound)).await;
        if second {
            publish(scenario.second_headers(Role::Inbound)).await;
        }

        let bare_probe = ContextProbe::new(recorder);
        let first = bare_message(&mut untraced).await;
        let inside = async {
            if second {
                let message = bare_message(&mut untraced).await;
                handle(&message.payload, scenario, &bare_probe, ready(())).await.unwrap();
            }
        };
        let without = messaging::drive(scenario, handle(&first.payload, scenario, &bare_probe, inside)).await;
        let without = settled(scenario, &other, without, || first.ack()).await;

        let probe = ContextProbe::new(recorder);
        let first = message(&mut traced).await;
        let inside = async {
            if second {
                let message = message(&mut traced).await;
                message
                    .process(async |message| handle(&message.payload, scenario, &probe, ready(())).await)
                    .await
                    .unwrap();
            }
        };
        let handling =
            first.process(async |message| handle(&message.payload, scenario, &probe, inside).await);
        let with = messaging::drive(scenario, handling).await;
        let with = settled(scenario, context.inner(), with, || first.ack()).await;
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe))
    }
}

async fn bare_message(messages: &mut pull::Stream) -> bare_jetstream::Message {
    tokio::time::timeout(LONG, messages.next()).await.unwrap().unwrap().unwrap()
}

/// Settles the message, if the scenario demands it, after the end of its connection.
async fn settled<F>(
    scenario: Scenario,
    context: &bare_jetstream::Context,
    seen: CallResult,
    settle: impl FnOnce() -> F,
) -> CallResult
where
    F: Future<Output = Result<(), async_nats::Error>>,
{
    if scenario.flow() != Flow::BodyFails {
        return seen;
    }
    let client = context.client();
    client.drain().await.unwrap();
    // Fails when the connection has ended, for which no event exists.
    while client.flush().await.is_ok() {
        tokio::task::yield_now().await;
    }
    CallResult::Error(settle().await.unwrap_err().to_string())
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.core.role()
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match (scenario, self.role()) {
            // Unlike a message of core NATS, one of a stream is confirmed, and it can be settled.
            (Scenario::DroppedAtAwait, _) | (Scenario::BodyFails, Role::Inbound) => Ok(()),
            (Scenario::HugeHeaders | Scenario::ManyHeaders, Role::Inbound) => Err(NOT_STORED),
            _ => self.core.supports(scenario),
        }
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        self.core.measurements(flow)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        match self.role() {
            Role::Outbound => self.publish(recorder, scenario).await,
            Role::Inbound => self.consume(recorder, scenario).await,
        }
    }
}
