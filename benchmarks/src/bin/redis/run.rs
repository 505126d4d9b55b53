//! The measurement of one cell on one thread, with the caller's context current.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use benchmarks::measure::{self, Mode};
use benchmarks::messages::{Candidate, Variant};
use benchmarks::sdk::{self, Metrics};
use opentelemetry_sdk::trace::SpanData;
use otel_redis::{Connection, Options};
use redis::{Cmd, Pipeline};

use crate::cell::Side;
use crate::memory::Memory;

/// The number of commands of a pipeline.
const COMMANDS: usize = 10;

pub(crate) fn measure(side: Side, candidate: Candidate, variant: Variant, mode: Mode) {
    let metrics = variant.install();
    let _current = variant.caller().attach();
    let cell = Cell { side, candidate, variant, mode, metrics };
    let options = || Options::new().with_server("cache.example", None).with_namespace("0");
    let connection = || Connection::new(Memory).with_options(options());
    match (candidate, side) {
        (Candidate::Bare, Side::Blocking) => cell.run_blocking(Memory),
        (Candidate::Bare, _) => cell.run(Memory),
        #[cfg(feature = "comparison")]
        (Candidate::Floor, _) => cell.run(crate::floor::Floor::new(Memory)),
        #[cfg(not(feature = "comparison"))]
        (Candidate::Floor, _) => {}
        (Candidate::Ours, Side::Blocking) => cell.run_blocking(connection()),
        (Candidate::Ours, Side::Template) => {
            cell.run(connection().with_key_template(|_, _| Some("user:{id}".to_owned())));
        }
        (Candidate::Ours, _) => cell.run(connection()),
    }
}

struct Cell {
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<Metrics>,
}

fn command(side: Side) -> Cmd {
    let mut command = redis::cmd(if side == Side::Template { "GET" } else { "SET" });
    command.arg("user:4711");
    if side != Side::Template {
        command.arg("value");
    }
    command
}

impl Cell {
    fn run<C: redis::aio::ConnectionLike>(&self, mut connection: C) {
        let command = command(self.side);
        let mut pipeline = Pipeline::new();
        for _ in 0..COMMANDS {
            pipeline.add_command(command.clone());
        }
        match self.side {
            Side::Pipeline => self.repeat(|| ready(pipeline.exec_async(&mut connection))),
            _ => self.repeat(|| ready(command.exec_async(&mut connection))),
        }
    }

    fn run_blocking<C: redis::ConnectionLike>(&self, mut connection: C) {
        let command = command(self.side);
        self.repeat(|| {
            command.exec(&mut connection).expect("the connection answers");
        });
    }

    fn repeat(&self, mut work: impl FnMut()) {
        let spans = sdk::spans_of(&mut work);
        self.check(&spans);
        measure::measure(self.mode, || (), |()| work());
    }

    /// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
    fn check(&self, spans: &[SpanData]) {
        let is_recorded = self.candidate != Candidate::Bare && self.variant == Variant::Sampled;
        assert_eq!(spans.len(), usize::from(is_recorded), "spans");
        for span in spans {
            let expected = match self.side {
                Side::Command | Side::Blocking => "SET cache.example",
                Side::Template => "GET user:{id}",
                Side::Pipeline => "PIPELINE SET cache.example",
            };
            assert_eq!(span.name, expected);
            let names =
                ["db.namespace", "db.operation.name", "db.query.text", "db.system.name", "server.address"];
            for name in names {
                assert!(span.attributes.iter().any(|attribute| attribute.key.as_str() == name), "{name}");
            }
        }
        let Some(metrics) = &self.metrics else { return };
        let recorded: Vec<_> = metrics.points().into_iter().map(|point| (point.name, point.value)).collect();
        let duration = ("db.client.operation.duration".to_owned(), 1.0);
        let expected = if self.candidate == Candidate::Bare { Vec::new() } else { vec![duration] };
        assert_eq!(recorded, expected, "metrics");
    }
}

/// Polls a future that is ready at once.
fn ready(future: impl Future<Output = redis::RedisResult<()>>) {
    let mut cx = TaskContext::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(reply) => black_box(reply).expect("the connection answers"),
        Poll::Pending => panic!("the connection answers at once"),
    }
}
