//! The suite that all transports share, mounted for publishing, for requests and for consuming.

use std::future::ready;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use otel_nats::{Client, ParentMode};
use otel_testing::Recorder;
use otel_testing::conformance::messaging::{self, handle};
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;

use crate::support::{bare, client_with, listed, next, options, received, synchronize, unique};

mod publishers {
    otel_testing::conformance!(outbound, super::Side::publisher);
}

mod requesters {
    otel_testing::conformance!(outbound, super::Side::requester);
}

mod consumers {
    otel_testing::conformance!(inbound, super::Side::consumer);
}

/// The operation that is instrumented.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Publish,
    Request,
    Process,
}

pub(crate) struct Side {
    kind: Kind,
    /// The subject of all runs, whose number must not change the number of series.
    subject: String,
}

const SUBJECT: Reason = "the application chooses the subject, or the pattern that names the spans.";
const NO_PANIC: Reason = "it runs no user code between a message and its reply.";
const NO_SETTLING: Reason = "core NATS has no acknowledgements.";
const NO_TEXT: Reason = "the client's errors are kinds.";
const NOT_SENT: Reason = "a message that waits for the queue of the connection has not been sent.";
const NOT_UTF8: Reason = "async-nats closes the connection when a header is not UTF-8.";

/// A subject that the client refuses before it sends the message.
const INVALID: &str = "two words";

impl Side {
    pub(crate) fn publisher() -> Self {
        Self::new(Kind::Publish)
    }

    fn requester() -> Self {
        Self::new(Kind::Request)
    }

    pub(crate) fn consumer() -> Self {
        Self::new(Kind::Process)
    }

    fn new(kind: Kind) -> Self {
        Self { kind, subject: unique("conformance") }
    }

    pub(crate) async fn client(recorder: &Recorder, scenario: Scenario) -> Client {
        let options = options(recorder).with_parent_mode(ParentMode::Producer);
        client_with(scenario_options!(options, scenario)).await
    }

    async fn publish(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let client = Self::client(recorder, scenario).await;
        let (other, subject) = (bare().await, self.subject.clone());
        let mut inspector = other.subscribe(subject.clone()).await.unwrap();
        synchronize(&other).await;
        let fails = scenario.flow() == Flow::Fails;
        let to = || if fails { INVALID.to_owned() } else { subject.clone() };
        let (mut runs, mut sent) = (Vec::new(), Vec::new());
        for instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            synchronize(client.inner()).await;
            let headers = map(scenario.headers(Role::Outbound));
            let payload = || "one book".into();
            let result = match instrumented {
                true => drive(scenario, client.publish_with_headers(to(), headers, payload())).await,
                false => drive(scenario, client.inner().publish_with_headers(to(), headers, payload())).await,
            };
            if scenario.flow() == Flow::Succeeds {
                let message = next(&mut inspector).await;
                probe.note(ProbePoint::Arrival);
                sent = arrived(&message);
            }
            let value = |()| CallResult::Value(b"queued".to_vec());
            runs.push(Run::new(result.map_or_else(|ended| ended, value), &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare).with_sent(sent)
    }

    async fn request(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let client = Self::client(recorder, scenario).await;
        let (other, subject) = (bare().await, self.subject.clone());
        let mut requests = other.subscribe(subject.clone()).await.unwrap();
        synchronize(&other).await;
        let fails = scenario.flow() == Flow::Fails;
        let to = || if fails { unique("nobody") } else { subject.clone() };
        let (mut runs, mut sent) = (Vec::new(), Vec::new());
        for instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            let headers = map(scenario.headers(Role::Outbound));
            let answering = async {
                match scenario.flow() {
                    Flow::Succeeds => {
                        let message = next(&mut requests).await;
                        probe.note(ProbePoint::Arrival);
                        other.publish(message.reply.clone().unwrap(), "7".into()).await.unwrap();
                        arrived(&message)
                    }
                    Flow::DroppedAtAwait => {
                        let message = next(&mut requests).await;
                        probe.note(ProbePoint::Arrival);
                        arrived(&message)
                    }
                    // There is no responder.
                    _ => Vec::new(),
                }
            };
            let asking = async {
                match instrumented {
                    true => drive(scenario, client.request_with_headers(to(), headers, "".into())).await,
                    false => {
                        drive(scenario, client.inner().request_with_headers(to(), headers, "".into())).await
                    }
                }
            };
            let (result, headers) = tokio::join!(asking, answering);
            sent = headers;
            let value = |reply: async_nats::Message| CallResult::Value(reply.payload.to_vec());
            runs.push(Run::new(result.map_or_else(|ended| ended, value), &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare).with_sent(sent)
    }

    async fn consume(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let client = Self::client(recorder, scenario).await;
        let (other, subject) = (bare().await, self.subject.clone());
        let mut traced = client.subscribe(format!("{subject}.*")).await.unwrap();
        let mut inspector = other.subscribe(format!("{subject}.*")).await.unwrap();
        synchronize(client.inner()).await;
        synchronize(&other).await;
        let second = scenario == Scenario::SecondOperation;
        let to = match scenario {
            Scenario::UnboundedOperation(_) => format!("{subject}.{}", scenario.attacker_value()),
            _ => format!("{subject}.created"),
        };
        let publish = async |headers| {
            other.publish_with_headers(to.clone(), map(headers), "one book".into()).await.unwrap();
        };
        publish(scenario.headers(Role::Inbound)).await;
        if second {
            publish(scenario.second_headers(Role::Inbound)).await;
        }

        let bare_probe = ContextProbe::new(recorder);
        let message = next(&mut inspector).await;
        let inside = async {
            if second {
                let message = next(&mut inspector).await;
                handle(&message.payload, scenario, &bare_probe, ready(())).await.unwrap();
            }
        };
        let without =
            messaging::drive(scenario, handle(&message.payload, scenario, &bare_probe, inside)).await;

        let probe = ContextProbe::new(recorder);
        let message = received(&mut traced).await;
        let inside = async {
            if second {
                let message = received(&mut traced).await;
                message
                    .process(async |message| handle(&message.payload, scenario, &probe, ready(())).await)
                    .await
                    .unwrap();
            }
        };
        let handling =
            message.process(async |message| handle(&message.payload, scenario, &probe, inside).await);
        let with = messaging::drive(scenario, handling).await;
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe))
    }
}

pub(crate) fn map(list: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        // NATS carries text alone.
        let value = String::from_utf8_lossy(&value);
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    }
    headers
}

pub(crate) fn arrived(message: &async_nats::Message) -> Vec<(String, Vec<u8>)> {
    let list = listed(message.headers.as_ref());
    list.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
}

pub(crate) async fn drive<T, E: ToString>(
    scenario: Scenario,
    sending: impl Future<Output = Result<T, E>>,
) -> Result<T, CallResult> {
    let sending = async { sending.await.map_err(|error| error.to_string()) };
    scenario.flow().drive(sending, 1).await
}

impl Harness for Side {
    fn role(&self) -> Role {
        match self.kind {
            Kind::Publish | Kind::Request => Role::Outbound,
            Kind::Process => Role::Inbound,
        }
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match (scenario, self.role()) {
            (Scenario::Panic, Role::Outbound) => Err(NO_PANIC),
            (Scenario::BodyFails, Role::Inbound) => Err(NO_SETTLING),
            (Scenario::UnboundedError(_), Role::Outbound) => Err(NO_TEXT),
            (Scenario::UnboundedOperation(_), Role::Outbound) => Err(SUBJECT),
            (Scenario::NonUtf8Headers, _) => Err(NOT_UTF8),
            (Scenario::DroppedAtAwait, _) if self.kind == Kind::Publish => Err(NOT_SENT),
            (scenario, role) => messaging::supports(scenario, role),
        }
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        messaging::measurements(self.role(), flow)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        match self.kind {
            Kind::Publish => self.publish(recorder, scenario).await,
            Kind::Request => self.request(recorder, scenario).await,
            Kind::Process => self.consume(recorder, scenario).await,
        }
    }
}
