//! The suite that all transports share, mounted on the toy broker: the family needs no broker's help to keep it.

use std::future::ready;

use otel_messaging::ParentMode;
use otel_testing::Recorder;
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, PanickingPropagator, ProbePoint, Reason,
    Role, Run, Scenario,
};
use otel_testing::toy_broker::{ToyBroker, ToyFault, ToyMessage};

use crate::support::defaults;
use crate::toy::Client;

mod producers {
    otel_testing::conformance!(outbound, super::Side::producer);
}

mod consumers {
    otel_testing::conformance!(inbound, super::Side::consumer);
}

struct Side(Role);

const NO_STREAM: Reason = "a message has no streamed response.";
const NO_HANDLER: Reason = "nothing of the application runs between a message and its confirmation.";
const NOT_PUBLIC: Reason =
    "`ParentMode::LinkOnly` links to an untrusted producer instead, but keeps its baggage.";
const NO_HOST: Reason = "a message names no host.";
const NO_FORMAT: Reason = "a confirmation names no format.";
const NO_LAYERS: Reason = "a transport wraps its broker's client, and none wraps another transport.";

impl Side {
    fn producer() -> Self {
        Self(Role::Outbound)
    }

    fn consumer() -> Self {
        Self(Role::Inbound)
    }

    fn client(recorder: &Recorder, broker: &ToyBroker, scenario: Scenario) -> Client {
        let options = defaults(recorder)
            .with_parent_mode(ParentMode::Producer)
            // The name of a subject may come from an untrusted peer.
            .with_destination_template(|_| Some("orders".to_owned()));
        Client::new(
            broker,
            match scenario {
                Scenario::PanickingHooks => options.with_filter(|_| panic!("hook")),
                Scenario::PanickingPropagator => options.with_propagator(PanickingPropagator),
                _ => options.with_filter(move |_| !scenario.is_filtered()),
            },
        )
    }

    fn message(scenario: Scenario, headers: Vec<(String, Vec<u8>)>) -> ToyMessage {
        let subject = match scenario {
            Scenario::UnboundedOperation(_) => scenario.attacker_value(),
            _ => "orders".to_owned(),
        };
        ToyMessage { subject, headers, payload: b"one book".to_vec() }
    }

    fn break_next(broker: &ToyBroker, scenario: Scenario) {
        match scenario.flow() {
            Flow::Fails => broker.fail_next(ToyFault::Refuse(scenario.attacker_value())),
            Flow::Panics => broker.fail_next(ToyFault::Panic),
            Flow::DroppedAtAwait => broker.fail_next(ToyFault::Silence),
            _ => {}
        }
    }

    async fn produce(recorder: &Recorder, scenario: Scenario) -> Observed {
        let broker = ToyBroker::new();
        let client = Self::client(recorder, &broker, scenario);
        let message = || Self::message(scenario, scenario.headers(Role::Outbound));
        let mut sent = Vec::new();
        let mut runs = Vec::new();
        for instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            Self::break_next(&broker, scenario);
            let result = match instrumented {
                true => scenario.flow().drive(client.publish(message()), 3).await,
                false => scenario.flow().drive(broker.publish(message()), 3).await,
            };
            if matches!(scenario.flow(), Flow::Succeeds | Flow::DroppedAtAwait) {
                let delivery = broker.receive().await;
                probe.note(ProbePoint::Arrival);
                assert_eq!(delivery.message.payload, b"one book");
                sent = delivery.message.headers;
            }
            let result = result.map_or_else(|ended| ended, |_| CallResult::Value(b"confirmed".to_vec()));
            runs.push(Run::new(result, &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare).with_sent(sent)
    }

    async fn consume(recorder: &Recorder, scenario: Scenario) -> Observed {
        let broker = ToyBroker::new();
        let client = Self::client(recorder, &broker, scenario);
        let second = scenario == Scenario::SecondOperation;
        for _ in 0..2 {
            broker.publish(Self::message(scenario, scenario.headers(Role::Inbound))).await.unwrap();
            if second {
                let headers = scenario.second_headers(Role::Inbound);
                broker.publish(Self::message(scenario, headers)).await.unwrap();
            }
        }
        let refuse = || broker.fail_next(ToyFault::Refuse("the broker refuses".to_owned()));

        let bare_probe = ContextProbe::new(recorder);
        let delivery = broker.receive().await;
        let inside = async {
            if second {
                let delivery = broker.receive().await;
                handle(&delivery.message, scenario, &bare_probe, ready(())).await.unwrap();
            }
        };
        let handling = handle(&delivery.message, scenario, &bare_probe, inside);
        let mut without = ended(scenario.flow().drive(handling, 3).await);
        if scenario.flow() == Flow::BodyFails {
            refuse();
            without = CallResult::Error(delivery.ack().await.unwrap_err().to_string());
        }

        let probe = ContextProbe::new(recorder);
        let message = client.receive().await;
        let inside = async {
            if second {
                let message = client.receive().await;
                let handling = handle(&message.inner.message, scenario, &probe, ready(()));
                message.processing().run(handling).await.unwrap();
            }
        };
        let handling = async {
            let handling = handle(&message.inner.message, scenario, &probe, inside);
            message.processing().run(handling).await
        };
        let mut with = ended(scenario.flow().drive(handling, 3).await);
        if scenario.flow() == Flow::BodyFails {
            refuse();
            with = CallResult::Error(message.ack().await.unwrap_err().to_string());
        }
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe))
    }
}

fn ended(result: Result<Vec<u8>, CallResult>) -> CallResult {
    result.map_or_else(|ended| ended, CallResult::Value)
}

/// What the application does with a message, around a second one if there is one.
async fn handle(
    message: &ToyMessage,
    scenario: Scenario,
    probe: &ContextProbe,
    second: impl Future<Output = ()>,
) -> Result<Vec<u8>, String> {
    probe.note(ProbePoint::Call);
    tokio::task::yield_now().await;
    second.await;
    probe.note(ProbePoint::AfterAwait);
    match scenario.flow() {
        Flow::Fails => Err(scenario.attacker_value()),
        Flow::Panics => panic!("on purpose"),
        Flow::DroppedAtAwait => std::future::pending().await,
        _ => Ok(message.payload.clone()),
    }
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.0
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match (scenario, self.0) {
            (Scenario::DroppedByPeer | Scenario::DroppedByUser | Scenario::ContextInBody, _)
            | (Scenario::BodyFails, Role::Outbound) => Err(NO_STREAM),
            (Scenario::SecondOperation, Role::Outbound) => Err(NO_HANDLER),
            (Scenario::HostileContentType(_), Role::Outbound) => Err(NO_FORMAT),
            (Scenario::TwoLayers | Scenario::TaskBetweenLayers, _) => Err(NO_LAYERS),
            (Scenario::UnboundedHost(_), _) => Err(NO_HOST),
            (Scenario::PublicEndpoint | Scenario::FilteredPublicEndpoint, _) => Err(NOT_PUBLIC),
            _ => Ok(()),
        }
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        const CLIENT: Measurement = Measurement::sample("messaging.client.operation.duration");
        match (self.0, flow) {
            (Role::Outbound, Flow::DroppedBeforePoll) => Vec::new(),
            (Role::Outbound, _) => vec![CLIENT, Measurement::step("messaging.client.sent.messages")],
            (Role::Inbound, _) => {
                let mut list = vec![Measurement::step("messaging.client.consumed.messages")];
                if flow != Flow::DroppedBeforePoll {
                    list.push(Measurement::sample("messaging.process.duration"));
                }
                list.extend((flow == Flow::BodyFails).then_some(CLIENT));
                list
            }
        }
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        match self.0 {
            Role::Outbound => Self::produce(recorder, scenario).await,
            Role::Inbound => Self::consume(recorder, scenario).await,
        }
    }
}
