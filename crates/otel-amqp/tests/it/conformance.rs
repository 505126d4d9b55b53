//! The suite that all transports share, mounted for publishing and for consuming.

use std::future::ready;

use lapin::options::{BasicAckOptions, BasicPublishOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, Result};
use otel_amqp::ParentMode;
use otel_testing::conformance::messaging::{self, drive, handle};
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::{Recorder, scenario_options};

use tokio::sync::{Mutex, OnceCell};

use crate::support::{bare, channel_with, inspect, listed, options, queue, received};

mod publishers {
    otel_testing::conformance!(outbound, super::Side::publisher);
}

mod consumers {
    otel_testing::conformance!(inbound, super::Side::consumer);
}

struct Side {
    role: Role,
    /// The queue of all runs, whose number must not change the number of series.
    queue: OnceCell<String>,
    /// The consumers of all runs: a scenario has one recorder.
    consumers: OnceCell<Consumers>,
}

/// An instrumented consumer and a bare one, each of a queue of its own.
struct Consumers {
    channel: otel_amqp::Channel,
    other: lapin::Channel,
    queues: [String; 2],
    traced: Mutex<otel_amqp::Consumer>,
    inspector: Mutex<lapin::Consumer>,
}

const NO_PANIC: Reason = "it runs no user code between a message and its confirmation.";
const ADDRESS: Reason =
    "the application chooses the exchange and the routing key, or a template that names the spans.";
const NO_TEXT: Reason = "its errors are codes.";
const ONE_FRAME: Reason = "the broker closes the connection when headers exceed a frame.";
const ONE_NAME: Reason = "a header table has each name once.";

impl Side {
    fn publisher() -> Self {
        Self::new(Role::Outbound)
    }

    fn consumer() -> Self {
        Self::new(Role::Inbound)
    }

    fn new(role: Role) -> Self {
        Self { role, queue: OnceCell::new(), consumers: OnceCell::new() }
    }

    /// A channel for each run, because an error closes it.
    async fn channel(recorder: &Recorder, scenario: Scenario) -> otel_amqp::Channel {
        let options = options(recorder).with_parent_mode(ParentMode::Producer);
        channel_with(scenario_options!(options, scenario)).await
    }

    async fn publish(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let inspecting = bare().await;
        let queue = self.queue.get_or_init(|| queue(&inspecting, "conformance")).await;
        let mut inspector = inspect(&inspecting, queue).await;
        // Without the exchange the broker closes the channel.
        let exchange = if scenario.flow() == Flow::Fails { "missing" } else { "" };
        let (mut runs, mut sent) = (Vec::new(), Vec::new());
        for instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            let channel = Self::channel(recorder, scenario).await;
            channel.confirm_select(Default::default()).await.unwrap();
            let properties = BasicProperties::default().with_headers(table(scenario.headers(Role::Outbound)));
            let options = BasicPublishOptions::default();
            let (to, key) = (exchange.into(), queue.as_str().into());
            let result = match instrumented {
                true => {
                    let publish = channel.basic_publish(to, key, options, b"one book", properties);
                    confirmed(scenario, publish).await
                }
                false => {
                    let publish =
                        lapin::Channel::basic_publish(&channel, to, key, options, b"one book", properties);
                    confirmed(scenario, publish).await
                }
            };
            if matches!(scenario.flow(), Flow::Succeeds | Flow::DroppedAtAwait) {
                let message = crate::support::next(&mut inspector).await;
                probe.note(ProbePoint::Arrival);
                assert_eq!(message.data, b"one book");
                sent = listed(&message.properties);
            }
            runs.push(Run::new(result, &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare).with_sent(sent)
    }

    async fn consume(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let create = async || {
            let (channel, other) = (Self::channel(recorder, scenario).await, bare().await);
            let queues = [queue(&other, "conformance").await, queue(&other, "inspected").await];
            let traced = Mutex::new(crate::support::consume(&channel, &queues[0]).await);
            let inspector = Mutex::new(inspect(&other, &queues[1]).await);
            Consumers { channel, other, queues, traced, inspector }
        };
        let consumers = self.consumers.get_or_init(create).await;
        let Consumers { channel, other, queues, .. } = consumers;
        let (traced, inspector) = (&consumers.traced, &consumers.inspector);
        // The routing key is the producer's, to whom the queues are unknown.
        let key = match scenario {
            Scenario::UnboundedOperation(_) => scenario.attacker_value(),
            _ => queues[0].clone(),
        };
        for to in queues {
            let (bind, arguments) = (QueueBindOptions::default(), FieldTable::default());
            let bound = other.queue_bind(
                to.as_str().into(),
                "amq.direct".into(),
                key.as_str().into(),
                bind,
                arguments,
            );
            bound.await.unwrap();
        }
        let second = scenario == Scenario::SecondOperation;
        let publish = async |headers| {
            let properties = BasicProperties::default().with_headers(table(headers));
            let (key, options) = (key.as_str().into(), BasicPublishOptions::default());
            other.basic_publish("amq.direct".into(), key, options, b"one book", properties).await.unwrap();
        };
        publish(scenario.headers(Role::Inbound)).await;
        if second {
            publish(scenario.second_headers(Role::Inbound)).await;
        }

        let bare_probe = ContextProbe::new(recorder);
        let message = unsettled(&mut *inspector.lock().await).await;
        let inside = async {
            if second {
                let message = unsettled(&mut *inspector.lock().await).await;
                handle(&message.data, scenario, &bare_probe, ready(())).await.unwrap();
            }
        };
        let without = drive(scenario, handle(&message.data, scenario, &bare_probe, inside)).await;
        let without = settled(scenario, without, async || {
            other.close(200, "".into()).await.unwrap();
            message.acker.ack(BasicAckOptions::default()).await
        });
        let without = without.await;

        let probe = ContextProbe::new(recorder);
        let message = received(&mut *traced.lock().await).await;
        let inside = async {
            if second {
                let message = received(&mut *traced.lock().await).await;
                let handling =
                    message.process(async |message| handle(&message.data, scenario, &probe, ready(())).await);
                handling.await.unwrap();
            }
        };
        let handling = message.process(async |message| handle(&message.data, scenario, &probe, inside).await);
        let with = drive(scenario, handling).await;
        let with = settled(scenario, with, async || {
            channel.close(200, "".into()).await.unwrap();
            message.acker.ack(BasicAckOptions::default()).await
        });
        let with = with.await;
        if scenario.flow() != Flow::BodyFails {
            // Settled without a span, so that the next run does not receive it again.
            lapin::Channel::basic_ack(channel, 0, BasicAckOptions { multiple: true }).await.unwrap();
        }
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe))
    }
}

fn table(list: Vec<(String, Vec<u8>)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in list {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    table
}

/// Publishes and waits for the confirmation. A confirmation that is given up is not polled before: the broker could
/// have answered.
async fn confirmed<C>(scenario: Scenario, publish: impl Future<Output = Result<C>>) -> CallResult
where
    C: Future<Output = Result<Confirmation>>,
{
    let flow = scenario.flow();
    if flow == Flow::DroppedAtAwait {
        drop(publish.await.unwrap());
        return CallResult::Cancelled(Vec::new());
    }
    let value = |confirmation: Confirmation| CallResult::Value(format!("{confirmation:?}").into_bytes());
    flow.drive(async { publish.await?.await }, 1).await.map_or_else(|ended| ended, value)
}

async fn unsettled(consumer: &mut lapin::Consumer) -> lapin::message::Delivery {
    use futures_util::StreamExt as _;
    tokio::time::timeout(crate::support::LONG, consumer.next()).await.unwrap().unwrap().unwrap()
}

/// Settles the message on a channel that is closed, where the scenario requires it.
async fn settled(
    scenario: Scenario,
    handled: CallResult,
    settle: impl AsyncFnOnce() -> Result<bool>,
) -> CallResult {
    match scenario.flow() {
        Flow::BodyFails => CallResult::Error(format!("{:?}", settle().await)),
        _ => handled,
    }
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.role
    }

    fn supports(&self, scenario: Scenario) -> std::result::Result<(), Reason> {
        match (scenario, self.role) {
            (Scenario::Panic, Role::Outbound) => Err(NO_PANIC),
            (Scenario::UnboundedError(_), Role::Outbound) => Err(NO_TEXT),
            (Scenario::UnboundedOperation(_), Role::Outbound) => Err(ADDRESS),
            (Scenario::HugeHeaders, _) => Err(ONE_FRAME),
            (Scenario::TwoParents, _) => Err(ONE_NAME),
            (scenario, role) => messaging::supports(scenario, role),
        }
    }

    /// A message whose confirmation is dropped is still delivered.
    fn dropped_is_error(&self) -> bool {
        self.role == Role::Inbound
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        messaging::measurements(self.role, flow)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        match self.role {
            Role::Outbound => self.publish(recorder, scenario).await,
            Role::Inbound => self.consume(recorder, scenario).await,
        }
    }
}
