//! The conformance suite that all transports share, run for the producer and for the consumer.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use otel_kafka::{FutureProducer, ParentMode, StreamConsumer};
use otel_testing::Recorder;
use otel_testing::conformance::{Course, Harness, Observed, Place, Reason, Role, Scenario, Seen, Witness};
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

/// Clients without instrumentation, and the client that owns the mock cluster: unlike `MockCluster`, it is `Send`.
struct Side {
    role: Role,
    cluster: BaseProducer,
    producer: producer::FutureProducer,
    consumer: bare::StreamConsumer,
    /// The instrumented clients, created in the first run, because a scenario has one recorder.
    traced: tokio::sync::OnceCell<(FutureProducer, StreamConsumer)>,
}

const TOPIC: Reason = "A topic is named by the application, not by a stranger, and names its spans.";
const NO_STREAM: Reason =
    "A message has no answer of several parts: nobody can drop one, or go away from it, midway.";
const NO_HANDLER: Reason = "A producer runs no user code between a record and the broker's word on it.";
const NO_TEXT: Reason = "The broker's errors are codes, without a text.";
const LAST_WINS: Reason = "Clients of Kafka append headers and read the last one of a name, so that a second \
                           `traceparent` takes the place of the first.";
const NOT_PUBLIC: Reason = "Whether a producer is trusted is a matter of `ParentMode`: `LinkOnly` links to it, and \
                            keeps its baggage.";
const NO_HOST: Reason = "A message names no host.";

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

    async fn traced(&self, recorder: &Recorder) -> &(FutureProducer, StreamConsumer) {
        let create = async || {
            let servers = self.cluster.client().mock_cluster().unwrap().bootstrap_servers();
            let options = options(recorder).with_parent_mode(ParentMode::Producer);
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

    fn record(&self, scenario: Scenario) -> FutureRecord<'static, str, str> {
        let headers = scenario.headers(self.role).into_iter();
        let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key: &key, value: Some(&value) })
        });
        FutureRecord::to("orders").key("k").payload("one book").headers(headers)
    }

    async fn produce(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (producer, _) = self.traced(recorder).await;
        let without = self.sent(scenario, self.producer.send(self.record(scenario), LONG)).await;
        let with = self.sent(scenario, producer.send(self.record(scenario), LONG)).await;
        let mut sent = Vec::new();
        if matches!(with, Seen::Value(_)) {
            // The first message is from the producer without instrumentation.
            let [_, second] = [self.consumer.recv().await.unwrap(), self.consumer.recv().await.unwrap()];
            sent = listed(second.headers());
        }
        Observed::new(with, without).with_sent(sent)
    }

    async fn sent(
        &self,
        scenario: Scenario,
        sending: impl Future<Output = producer::future_producer::OwnedDeliveryResult>,
    ) -> Seen {
        if scenario.course() == Course::Fails {
            self.fail(RDKafkaApiKey::Produce);
        }
        let mut sending = Box::pin(sending);
        match scenario.course() {
            Course::DroppedBeforePoll => return Seen::Cancelled,
            Course::DroppedAtAwait => {
                assert!((&mut sending).now_or_never().is_none());
                return Seen::Cancelled;
            }
            _ => {}
        }
        match sending.await {
            Ok(delivery) => Seen::Value(delivery.partition.to_string().into_bytes()),
            Err((error, message)) => {
                let headers = listed(message.headers().map(OwnedHeaders::as_borrowed));
                Seen::Error(format!("{error} {:?} {:?} {headers:?}", message.key(), message.payload()))
            }
        }
    }

    async fn consume(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (_, consumer) = self.traced(recorder).await;
        self.producer.send(self.record(scenario), LONG).await.unwrap();
        let message = self.consumer.recv().await.unwrap();
        let without = handled(scenario, handle(&message, scenario, Witness::new())).await;
        let without =
            self.settled(scenario, without, || self.consumer.commit_message(&message, CommitMode::Sync));

        let witness = Witness::new();
        let message = consumer.recv().await.unwrap();
        let noting = witness.clone();
        let handling = message.process(async |message| handle(message, scenario, noting).await);
        let with = handled(scenario, handling).await;
        let with = self.settled(scenario, with, || consumer.commit_message(&message, CommitMode::Sync));
        Observed::new(with, without).with_witness(&witness)
    }

    fn settled(
        &self,
        scenario: Scenario,
        seen: Seen,
        commit: impl FnOnce() -> Result<(), KafkaError>,
    ) -> Seen {
        if scenario.course() != Course::BodyFails {
            return seen;
        }
        self.fail(RDKafkaApiKey::OffsetCommit);
        Seen::Error(commit().unwrap_err().to_string())
    }
}

fn client<T: FromClientConfig>(servers: &str, group: &str) -> T {
    let mut config = ClientConfig::new();
    // Two addresses, so that the port, which differs in each run, is not recorded.
    config.set("bootstrap.servers", format!("{servers},{servers}"));
    // The mock cluster answers a fetch only after this time, even if a message has arrived.
    config.set("fetch.wait.max.ms", "10").set("linger.ms", "0");
    config.set("group.id", group).set("enable.auto.commit", "false").create().unwrap()
}

fn from_the_beginning<C: bare::ConsumerContext>(consumer: &impl bare::Consumer<C>) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
}

/// The application's handler.
async fn handle(
    message: &BorrowedMessage<'_>,
    scenario: Scenario,
    witness: Witness,
) -> Result<Vec<u8>, String> {
    witness.note(Place::Call);
    tokio::task::yield_now().await;
    witness.note(Place::AfterAwait);
    match scenario.course() {
        Course::Fails => Err(scenario.stranger()),
        Course::Panics => panic!("on purpose"),
        Course::DroppedAtAwait => std::future::pending().await,
        _ => Ok(message.payload().unwrap_or_default().to_vec()),
    }
}

async fn handled(scenario: Scenario, handling: impl Future<Output = Result<Vec<u8>, String>>) -> Seen {
    let mut handling = Box::pin(AssertUnwindSafe(handling).catch_unwind());
    match scenario.course() {
        Course::DroppedBeforePoll => return Seen::Cancelled,
        Course::DroppedAtAwait => {
            for _ in 0..3 {
                assert!((&mut handling).now_or_never().is_none());
            }
            return Seen::Cancelled;
        }
        _ => {}
    }
    match handling.await {
        Err(_) => Seen::Panicked,
        Ok(Ok(value)) => Seen::Value(value),
        Ok(Err(error)) => Seen::Error(error),
    }
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.role
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match (scenario, self.role) {
            (Scenario::DroppedByPeer | Scenario::DroppedByUser | Scenario::ContextInBody, _)
            | (Scenario::BodyFails, Role::Outbound) => Err(NO_STREAM),
            (Scenario::Panic, Role::Outbound) => Err(NO_HANDLER),
            (Scenario::UnboundedError(_), Role::Outbound) => Err(NO_TEXT),
            (Scenario::UnboundedOperation(_), _) => Err(TOPIC),
            (Scenario::UnboundedHost(_), _) => Err(NO_HOST),
            (Scenario::TwoParents, _) => Err(LAST_WINS),
            (Scenario::PublicEndpoint, _) => Err(NOT_PUBLIC),
            _ => Ok(()),
        }
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        match self.role {
            Role::Outbound => self.produce(recorder, scenario).await,
            Role::Inbound => self.consume(recorder, scenario).await,
        }
    }
}
