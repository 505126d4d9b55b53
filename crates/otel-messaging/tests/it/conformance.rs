//! The suite that all transports share, mounted on the toy broker: the family needs no broker's help to keep it.

use std::future::ready;

use otel_messaging::ParentMode;
use otel_testing::Recorder;
use otel_testing::conformance::messaging::{self, drive, handle};
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;
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
        Client::new(broker, scenario_options!(options, scenario))
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
                handle(&delivery.message.payload, scenario, &bare_probe, ready(())).await.unwrap();
            }
        };
        let handling = handle(&delivery.message.payload, scenario, &bare_probe, inside);
        let mut without = drive(scenario, handling).await;
        if scenario.flow() == Flow::BodyFails {
            refuse();
            without = CallResult::Error(delivery.ack().await.unwrap_err().to_string());
        }

        let probe = ContextProbe::new(recorder);
        let message = client.receive().await;
        let inside = async {
            if second {
                let message = client.receive().await;
                let handling = handle(&message.inner.message.payload, scenario, &probe, ready(()));
                message.processing().run(handling).await.unwrap();
            }
        };
        let handling = async {
            let handling = handle(&message.inner.message.payload, scenario, &probe, inside);
            message.processing().run(handling).await
        };
        let mut with = drive(scenario, handling).await;
        if scenario.flow() == Flow::BodyFails {
            refuse();
            with = CallResult::Error(message.ack().await.unwrap_err().to_string());
        }
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe))
    }
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.0
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        messaging::supports(scenario, self.0)
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        messaging::measurements(self.0, flow)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        match self.0 {
            Role::Outbound => Self::produce(recorder, scenario).await,
            Role::Inbound => Self::consume(recorder, scenario).await,
        }
    }
}
