//! The suite that all transports share, mounted for asynchronous commands and pipelines, and for blocking commands.
//!
//! The connection of redis is replaced by one that answers from memory and notes the context in which it is called.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use otel_redis::Connection;
use otel_testing::Recorder;
use otel_testing::conformance::database;
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value, make_extension_error};

use crate::support::options;

mod commands {
    otel_testing::conformance!(outbound, super::Side::commands);
}

mod pipelines {
    otel_testing::conformance!(outbound, super::Side::pipelines);
}

mod blocking {
    otel_testing::conformance!(outbound, super::Side::blocking);
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Command,
    Pipeline,
    Blocking,
}

struct Side(Kind);

impl Side {
    fn commands() -> Self {
        Self(Kind::Command)
    }

    fn pipelines() -> Self {
        Self(Kind::Pipeline)
    }

    fn blocking() -> Self {
        Self(Kind::Blocking)
    }
}

const NO_AWAIT: Reason = "a blocking command cannot be dropped.";
const NO_STREAM: Reason = "a reply is read completely before it is returned.";

/// A connection whose server behaves as a scenario demands.
#[derive(Clone)]
struct Server {
    scenario: Scenario,
    probe: ContextProbe,
}

impl Server {
    fn end(&self) -> RedisResult<Value> {
        self.probe.note(ProbePoint::AfterAwait);
        match self.scenario.flow() {
            Flow::Fails if self.scenario == Scenario::Error => {
                Err(RedisError::from((ErrorKind::Client, "no")))
            }
            // The prefix of the error is the attacker's text as well: a script can return any.
            Flow::Fails => {
                let text = self.scenario.attacker_value();
                make_extension_error(text.clone(), Some(text))
                    .into_server_errors()
                    .map_or(Ok(Value::Nil), |errors| Ok(Value::ServerError(errors[0].1.clone())))
            }
            Flow::Panics => panic!("on purpose"),
            _ => Ok(Value::BulkString(b"7".to_vec())),
        }
    }

    fn reply(&self) -> RedisFuture<'static, Value> {
        self.probe.note(ProbePoint::Call);
        let server = self.clone();
        Box::pin(async move {
            Yield(false).await;
            if server.scenario.flow() == Flow::DroppedAtAwait {
                std::future::pending::<()>().await;
            }
            server.end()
        })
    }
}

/// Pending once.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl redis::aio::ConnectionLike for Server {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        self.reply()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let reply = self.reply();
        Box::pin(async move { Ok(vec![Value::Okay, reply.await?]) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl redis::ConnectionLike for Server {
    fn req_packed_command(&mut self, _: &[u8]) -> RedisResult<Value> {
        self.probe.note(ProbePoint::Call);
        self.end()
    }

    fn req_packed_commands(&mut self, _: &[u8], _: usize, _: usize) -> RedisResult<Vec<Value>> {
        Ok(vec![self.end()?])
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// Sends a command with a value and a secret in each place where text can be.
async fn drive<C>(kind: Kind, scenario: Scenario, connection: &mut C) -> CallResult
where
    C: redis::aio::ConnectionLike + redis::ConnectionLike,
{
    let value = scenario.attacker_value();
    let name = match scenario {
        // A command that is no name.
        Scenario::UnboundedOperation(_) => format!("GET {value}"),
        _ => "GET".to_owned(),
    };
    let mut command = redis::cmd(&name);
    command.arg(format!("user:{value}:{}", Scenario::SECRET)).arg(Scenario::SECRET);
    let mut pipeline = redis::pipe();
    pipeline.add_command(redis::cmd("PING")).add_command(command.clone());
    let result: Result<String, CallResult> = match kind {
        Kind::Command => scenario.flow().drive(command.query_async(connection), 3).await,
        Kind::Pipeline => {
            let values = async {
                let (_, value): (String, String) = pipeline.query_async(connection).await?;
                Ok::<_, RedisError>(value)
            };
            scenario.flow().drive(values, 3).await
        }
        Kind::Blocking => {
            let blocking = async { ready(command.query::<String>(connection)).await };
            scenario.flow().drive(blocking, 1).await
        }
    };
    result.map_or_else(|ended| ended, |value| CallResult::Value(value.into_bytes()))
}

impl Harness for Side {
    fn role(&self) -> Role {
        Role::Outbound
    }

    fn propagates(&self) -> bool {
        false
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match scenario {
            Scenario::DroppedAtAwait if self.0 == Kind::Blocking => Err(NO_AWAIT),
            Scenario::DroppedByPeer | Scenario::DroppedByUser | Scenario::BodyFails => Err(NO_STREAM),
            _ => database::supports(scenario),
        }
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        database::measurements(flow, false)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let options = scenario_options!(options(recorder), scenario);
        let mut runs = Vec::new();
        for instrumented in [false, true] {
            let probe = ContextProbe::new(recorder);
            let mut server = Server { scenario, probe: probe.clone() };
            let result = match instrumented {
                false => drive(self.0, scenario, &mut server).await,
                true => {
                    let connection = Connection::new(server).with_options(options.clone());
                    let mut connection = match scenario {
                        Scenario::PanickingHooks => connection.with_key_template(|_, _| panic!("hook")),
                        _ => connection,
                    };
                    drive(self.0, scenario, &mut connection).await
                }
            };
            runs.push(Run::new(result, &probe));
        }
        let [bare, instrumented] = <[Run; 2]>::try_from(runs).unwrap();
        Observed::new(instrumented, bare)
    }
}

/// The suite does not look at what is current where nothing is propagated.
#[tokio::test]
async fn the_span_is_current_in_each_poll_of_the_connection() {
    for kind in [Kind::Command, Kind::Pipeline, Kind::Blocking] {
        let recorder = Recorder::new();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let server = Observer { seen: Arc::clone(&seen) };
        let mut connection = Connection::new(server).with_options(options(&recorder));
        let command = redis::cmd("PING");
        match kind {
            Kind::Command => command.exec_async(&mut connection).await.unwrap(),
            Kind::Pipeline => {
                let mut pipeline = redis::pipe();
                pipeline.cmd("PING").cmd("PING").exec_async(&mut connection).await.unwrap();
            }
            Kind::Blocking => command.exec(&mut connection).unwrap(),
        }
        let span = recorder.spans()[0].span_context.span_id();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), if kind == Kind::Blocking { 1 } else { 3 });
        assert!(seen.iter().all(|current| *current == span), "{seen:?}, not {span}");
        assert!(!opentelemetry::trace::get_active_span(|span| span.span_context().is_valid()));
        recorder.assert_clean();
    }
}

/// A connection that notes the current span when it is called, and in each poll.
struct Observer {
    seen: Arc<std::sync::Mutex<Vec<opentelemetry::SpanId>>>,
}

impl Observer {
    fn note(seen: &std::sync::Mutex<Vec<opentelemetry::SpanId>>) {
        let current = opentelemetry::trace::get_active_span(|span| span.span_context().span_id());
        seen.lock().unwrap().push(current);
    }

    fn reply<T: Send + 'static>(&self, value: T) -> RedisFuture<'static, T> {
        Self::note(&self.seen);
        let seen = Arc::clone(&self.seen);
        Box::pin(async move {
            Self::note(&seen);
            Yield(false).await;
            Self::note(&seen);
            Ok(value)
        })
    }
}

impl redis::aio::ConnectionLike for Observer {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        self.reply(Value::Okay)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.reply(vec![Value::Okay, Value::Okay])
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl redis::ConnectionLike for Observer {
    fn req_packed_command(&mut self, _: &[u8]) -> RedisResult<Value> {
        Self::note(&self.seen);
        Ok(Value::Okay)
    }

    fn req_packed_commands(&mut self, _: &[u8], _: usize, _: usize) -> RedisResult<Vec<Value>> {
        Ok(Vec::new())
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}
