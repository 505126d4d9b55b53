//! The suite that all transports share, mounted for producers and for consumers.

use std::collections::HashMap;
use std::future::ready;

use otel_redis::streams::{Consumer, ParentMode, Producer, StreamMessage};
use otel_testing::Recorder;
use otel_testing::conformance::messaging::{self, handle};
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, RedisError, RedisResult, Value};

use crate::streams::support::options;
use crate::support::{bare, unique};

mod producers {
    otel_testing::conformance!(outbound, super::Side::producer);
}

mod consumers {
    otel_testing::conformance!(inbound, super::Side::consumer);
}

struct Side {
    role: Role,
    /// The stream of all runs, whose number must not change the number of series.
    key: String,
}

const STREAM: Reason = "the application chooses the key of the stream.";
const NO_PANIC: Reason = "it runs no user code between an entry and its confirmation.";
const NOT_SENT: Reason = "redis drops an entry that waits for the connection when its future is dropped.";
const ONE_VALUE: Reason = "redis keeps one value of a field.";
const NO_CODE: Reason = "the text of an error is never recorded, its prefix only if it is one of Redis'.";

impl Side {
    fn producer() -> Self {
        Self { role: Role::Outbound, key: unique("conformance") }
    }

    fn consumer() -> Self {
        Self { role: Role::Inbound, key: unique("conformance") }
    }

    async fn produce(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let options = options(recorder).with_parent_mode(ParentMode::Producer);
        let mut connection = bare().await;
        let mut producer = Producer::new(bare().await).with_options(scenario_options!(options, scenario));
        let (mut runs, mut sent) = (Vec::new(), Vec::new());
        for instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            let () = connection.del(&self.key).await.unwrap();
            if scenario.flow() == Flow::Fails {
                let () = connection.set(&self.key, "no stream").await.unwrap();
            }
            let mut fields = scenario.headers(Role::Outbound);
            fields.push(("payload".to_owned(), b"one book".to_vec()));
            let adding = async {
                match instrumented {
                    true => producer.xadd(&self.key, "1-1", &fields).await,
                    false => connection.xadd(&self.key, "1-1", &fields).await,
                }
            };
            let result: Result<_, CallResult> = drive(scenario, adding).await;
            if matches!(scenario.flow(), Flow::Succeeds) {
                let entry = self.entry(&mut connection).await;
                probe.note(ProbePoint::Arrival);
                sent = arrived(entry);
            }
            let value = |id: Option<String>| CallResult::Value(id.unwrap().into_bytes());
            runs.push(Run::new(result.map_or_else(|ended| ended, value), &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare).with_sent(sent)
    }

    async fn entry(&self, connection: &mut MultiplexedConnection) -> StreamId {
        let reply: StreamReadReply = connection.xread(&[&self.key], &["0"]).await.unwrap();
        reply.keys[0].ids[0].clone()
    }

    async fn consume(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let options = options(recorder).with_parent_mode(ParentMode::Producer);
        let options = scenario_options!(options, scenario);
        let (mut connection, second) = (bare().await, scenario == Scenario::SecondOperation);
        // The destination of an unbounded operation is the template of the options, as for an application with such streams.
        let (key, options) = match scenario {
            Scenario::UnboundedOperation(_) => (
                format!("{}:{}", self.key, scenario.attacker_value()),
                options.with_destination_template(|_| Some("conformance:*".to_owned())),
            ),
            _ => (self.key.clone(), options),
        };
        let () = connection.del(&key).await.unwrap();
        for group in ["bare", "traced"] {
            let () = connection.xgroup_create_mkstream(&key, group, "0").await.unwrap();
        }
        let mut add = async |headers: Vec<(String, Vec<u8>)>| {
            let mut fields = headers;
            fields.push(("payload".to_owned(), b"one book".to_vec()));
            let _: Option<String> = connection.xadd(&key, "*", &fields).await.unwrap();
        };
        add(scenario.headers(Role::Inbound)).await;
        if second {
            add(scenario.second_headers(Role::Inbound)).await;
        }

        let mut consumer = Consumer::new(bare().await, "traced", "one").with_options(options);
        let mut messages: Vec<StreamMessage<_>> = Vec::new();
        for _ in 0..=usize::from(second) {
            let one = StreamReadOptions::default().count(1);
            messages.extend(consumer.xreadgroup(&[&key], &[">"], one).await.unwrap());
        }
        let bare_probe = ContextProbe::new(recorder);
        let mut untraced = bare().await;
        let read = StreamReadOptions::default().group("bare", "one");
        let reply: StreamReadReply = untraced.xread_options(&[&key], &[">"], &read).await.unwrap();
        let entries = &reply.keys[0].ids;
        let inside = async {
            if second {
                handle(&payload(&entries[1]), scenario, &bare_probe, ready(())).await.unwrap();
            }
        };
        let first = payload(&entries[0]);
        let without = messaging::drive(scenario, handle(&first, scenario, &bare_probe, inside)).await;
        let ids = [&entries[0].id];
        let acknowledging = untraced.xack(&key, "bare", &ids);
        let without = self.settled(scenario, without, acknowledging).await;

        let probe = ContextProbe::new(recorder);
        let inside = async {
            if second {
                messages[1]
                    .process(async |message| handle(&payload(message), scenario, &probe, ready(())).await)
                    .await
                    .unwrap();
            }
        };
        let handling =
            messages[0].process(async |message| handle(&payload(message), scenario, &probe, inside).await);
        let with = messaging::drive(scenario, handling).await;
        let with = self.settled(scenario, with, messages[0].xack()).await;
        Observed::new(Run::new(with, &probe), Run::new(without, &bare_probe))
    }

    /// Settles the message, if the scenario demands it, when its key is no stream any more.
    async fn settled(
        &self,
        scenario: Scenario,
        seen: CallResult,
        settle: impl Future<Output = RedisResult<usize>>,
    ) -> CallResult {
        if scenario.flow() != Flow::BodyFails {
            return seen;
        }
        let () = bare().await.set(&self.key, "no stream").await.unwrap();
        CallResult::Error(settle.await.unwrap_err().to_string())
    }
}

fn payload(entry: &StreamId) -> Vec<u8> {
    entry.get("payload").unwrap()
}

fn arrived(entry: StreamId) -> Vec<(String, Vec<u8>)> {
    let fields: HashMap<String, Value> = entry.map;
    fields.into_iter().map(|(name, value)| (name, redis::from_redis_value(value).unwrap())).collect()
}

async fn drive<T>(
    scenario: Scenario,
    sending: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, CallResult> {
    scenario.flow().drive(sending, 1).await
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.role
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match (scenario, self.role) {
            (Scenario::Panic, Role::Outbound) => Err(NO_PANIC),
            (Scenario::DroppedAtAwait, Role::Outbound) => Err(NOT_SENT),
            (Scenario::UnboundedOperation(_), Role::Outbound) => Err(STREAM),
            (Scenario::UnboundedError(_), Role::Outbound) => Err(NO_CODE),
            (Scenario::TwoParents | Scenario::ManyHeaders, _) => Err(ONE_VALUE),
            (scenario, role) => messaging::supports(scenario, role),
        }
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
