//! The suite that all transports share, mounted as producer and as consumer.

use std::future::ready;
use std::time::Duration;

use futures_util::FutureExt as _;
use otel_kafka::{FutureProducer, ParentMode, StreamConsumer};
use otel_testing::Recorder;
use otel_testing::conformance::messaging::{self, drive, handle};
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{self as bare, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{self, BaseProducer, FutureRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{LONG, listed, options};

mod producers {
    otel_testing::conformance!(outbound, super::Side::producer);
}

mod consumers {
    otel_testing::conformance!(inbound, super::Side::consumer);
}

/// Clients without instrumentation, and a cluster of their own: the one inside of a client, which may go from thread to
/// thread.
struct Side {
    role: Role,
    cluster: BaseProducer,
    producer: producer::FutureProducer,
    consumer: bare::StreamConsumer,
    /// The instrumented clients, from the first run on: a scenario has one recorder.
    traced: tokio::sync::OnceCell<(FutureProducer, StreamConsumer)>,
}

/// More than a poll takes on a busy machine.
const DELAY: Duration = Duration::from_secs(2);
/// The payload of a message that marks the end of those that a run has sent.
const MARKER: &str = "marker";

const TOPIC: Reason = "the application chooses the topic, not an untrusted peer, and it names the spans.";
const NO_PANIC: Reason = "it runs no user code between a record and its delivery report.";
const NO_TEXT: Reason = "its errors are codes.";
const LAST_WINS: Reason = "the last `traceparent` header is read.";

impl Side {
    fn producer() -> Self {
        Self::new(Role::Outbound)
    }

    fn consumer() -> Self {
        Self::new(Role::Inbound)
    }

    fn new(role: Role) -> Self {
        let cluster: BaseProducer = ClientConfig::new().set("test.mock.num.brokers", "1").create().unwrap();
        let mock = cluster.client().mock_cluster().unwrap();
        mock.create_topic("orders", 1, 1).unwrap();
        let servers = mock.bootstrap_servers();
        drop(mock);
        let (producer, consumer) = (client(&servers, "bare"), client(&servers, "bare"));
        from_the_beginning(&consumer);
        Self { role, cluster, producer, consumer, traced: tokio::sync::OnceCell::new() }
    }

    async fn traced(&self, recorder: &Recorder, scenario: Scenario) -> &(FutureProducer, StreamConsumer) {
        let create = async || {
            let servers = self.cluster.client().mock_cluster().unwrap().bootstrap_servers();
            let options = options(recorder).with_parent_mode(ParentMode::Producer);
            let options = scenario_options!(options, scenario);
            let producer = client::<FutureProducer>(&servers, "traced").with_options(options.clone());
            let consumer = client::<StreamConsumer>(&servers, "traced").with_options(options);
            from_the_beginning(&consumer);
            (producer, consumer)
        };
        self.traced.get_or_init(create).await
    }

    /// Makes the next request of this kind fail.
    fn fail(&self, request: RDKafkaApiKey) {
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        self.cluster.client().mock_cluster().unwrap().request_errors(request, &[error]);
    }

    /// Makes the broker answer later.
    fn delay(&self, delay: Duration) {
        let mock = self.cluster.client().mock_cluster().unwrap();
        mock.broker_round_trip_time(1, delay).unwrap();
    }

    fn record(headers: Vec<(String, Vec<u8>)>) -> FutureRecord<'static, str, str> {
        let headers = headers.into_iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key: &key, value: Some(&value) })
        });
        FutureRecord::to("orders").key("k").payload("one book").headers(headers)
    }

    async fn produce(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (producer, _) = self.traced(recorder, scenario).await;
        let bare_probe = ContextProbe::new(recorder);
        let record = || Self::record(scenario.headers(self.role));
        let without = self.sent(scenario, self.producer.send(record(), LONG)).await;
        self.arrived(scenario, &bare_probe).await;
        let probe = ContextProbe::new(recorder);
        let with = self.sent(scenario, producer.send(record(), LONG)).await;
        // A record whose future was dropped is still on its way.
        producer.flush(LONG).unwrap();
        let sent = self.arrived(scenario, &probe).await.pop().unwrap_or_default();
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe)).with_sent(sent)
    }

    /// The headers of each message that has reached the broker since the last time. A marker ends the list.
    async fn arrived(&self, scenario: Scenario, probe: &ContextProbe) -> Vec<Vec<(String, Vec<u8>)>> {
        if scenario.flow() == Flow::Fails {
            // Its result has the broker's answer, and the topic refuses the marker too.
            return Vec::new();
        }
        let marker = FutureRecord::<str, str>::to("orders").payload(MARKER);
        self.producer.send(marker, LONG).await.unwrap();
        let mut messages = Vec::new();
        loop {
            let message = self.consumer.recv().await.unwrap();
            if message.payload() == Some(MARKER.as_bytes()) {
                return messages;
            }
            probe.note(ProbePoint::Arrival);
            messages.push(listed(message.headers()));
        }
    }

    async fn sent(
        &self,
        scenario: Scenario,
        sending: impl Future<Output = producer::future_producer::OwnedDeliveryResult>,
    ) -> CallResult {
        if scenario.flow() == Flow::Fails {
            self.fail(RDKafkaApiKey::Produce);
        }
        let mut sending = Box::pin(sending);
        match scenario.flow() {
            Flow::DroppedBeforePoll => return CallResult::Cancelled(Vec::new()),
            Flow::DroppedAtAwait => {
                // The broker's answer must not overtake the one poll.
                self.delay(DELAY);
                assert!((&mut sending).now_or_never().is_none());
                self.delay(Duration::ZERO);
                return CallResult::Cancelled(Vec::new());
            }
            _ => {}
        }
        match sending.await {
            Ok(delivery) => CallResult::Value(delivery.partition.to_string().into_bytes()),
            Err((error, message)) => {
                let headers = listed(message.headers().map(OwnedHeaders::as_borrowed));
                CallResult::Error(format!("{error} {:?} {:?} {headers:?}", message.key(), message.payload()))
            }
        }
    }

    async fn consume(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (_, consumer) = self.traced(recorder, scenario).await;
        let second = scenario == Scenario::SecondOperation;
        self.producer.send(Self::record(scenario.headers(self.role)), LONG).await.unwrap();
        if second {
            self.producer.send(Self::record(scenario.second_headers(self.role)), LONG).await.unwrap();
        }
        let bare_probe = ContextProbe::new(recorder);
        let message = self.consumer.recv().await.unwrap();
        let inside = async {
            if second {
                let message = self.consumer.recv().await.unwrap();
                handle(payload(&message), scenario, &bare_probe, ready(())).await.unwrap();
            }
        };
        let without = drive(scenario, handle(payload(&message), scenario, &bare_probe, inside)).await;
        let without =
            self.settled(scenario, without, || self.consumer.commit_message(&message, CommitMode::Sync));

        let probe = ContextProbe::new(recorder);
        let message = consumer.recv().await.unwrap();
        let inside = async {
            if second {
                let message = consumer.recv().await.unwrap();
                let handling = message
                    .process(async |message| handle(payload(message), scenario, &probe, ready(())).await);
                handling.await.unwrap();
            }
        };
        let handling =
            message.process(async |message| handle(payload(message), scenario, &probe, inside).await);
        let with = drive(scenario, handling).await;
        let with = self.settled(scenario, with, || consumer.commit_message(&message, CommitMode::Sync));
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe))
    }

    fn settled(
        &self,
        scenario: Scenario,
        seen: CallResult,
        commit: impl FnOnce() -> Result<(), KafkaError>,
    ) -> CallResult {
        if scenario.flow() != Flow::BodyFails {
            return seen;
        }
        self.fail(RDKafkaApiKey::OffsetCommit);
        CallResult::Error(commit().unwrap_err().to_string())
    }
}

fn client<T: FromClientConfig>(servers: &str, group: &str) -> T {
    let mut config = ClientConfig::new();
    // Two addresses, so that the port, which differs from run to run, is not recorded.
    config.set("bootstrap.servers", format!("{servers},{servers}"));
    // The mock cluster answers a fetch at its time, also when a message has come.
    config.set("fetch.wait.max.ms", "10").set("linger.ms", "0");
    config.set("group.id", group).set("enable.auto.commit", "false").create().unwrap()
}

fn from_the_beginning<C: bare::ConsumerContext>(consumer: &impl bare::Consumer<C>) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
}

fn payload<'m>(message: &'m BorrowedMessage<'_>) -> &'m [u8] {
    message.payload().unwrap_or_default()
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.role
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match (scenario, self.role) {
            (Scenario::Panic, Role::Outbound) => Err(NO_PANIC),
            (Scenario::UnboundedError(_), Role::Outbound) => Err(NO_TEXT),
            (Scenario::UnboundedOperation(_), _) => Err(TOPIC),
            (Scenario::TwoParents, _) => Err(LAST_WINS),
            (scenario, role) => messaging::supports(scenario, role),
        }
    }

    /// A record whose send is dropped is still delivered.
    fn dropped_is_error(&self) -> bool {
        self.role == Role::Inbound
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        messaging::measurements(self.role, flow)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        match self.role {
            Role::Outbound => self.produce(recorder, scenario).await,
            Role::Inbound => self.consume(recorder, scenario).await,
        }
    }
}
