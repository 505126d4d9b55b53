//! The measurement of one cell on one thread, with the caller's context current.

use std::hint::black_box;

use benchmarks::measure::{self, Mode};
use benchmarks::messages::Variant;
use benchmarks::sdk::{self, Metrics};
use otel_tasks::sync::mpsc;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::cell::{Candidate, Side};

/// The capacity of a channel, in which one item is at a time.
const BUFFER: usize = 8;

pub(crate) fn measure(side: Side, candidate: Candidate, variant: Variant, mode: Mode) {
    let cell = Cell { side, candidate, variant, mode, metrics: variant.install() };
    let _current = variant.caller().attach();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("the runtime starts");
    let _entered = runtime.enter();
    match side {
        Side::Spawn => cell.spawn(&runtime),
        Side::Item => cell.item(),
        Side::Process => cell.process(&runtime),
        Side::Function => cell.function(),
    }
}

struct Cell {
    side: Side,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    metrics: Option<Metrics>,
}

impl Cell {
    fn spawn(&self, runtime: &Runtime) {
        let run = |handle: JoinHandle<u64>| {
            black_box(runtime.block_on(handle).expect("the task ends"));
        };
        match self.candidate {
            Candidate::Ours => self.run(|| run(otel_tasks::spawn(async { black_box(5) }))),
            Candidate::Span => self.run(|| run(otel_tasks::spawn_with_span("work", async { black_box(5) }))),
            _ => self.run(|| run(tokio::spawn(async { black_box(5) }))),
        }
    }

    fn item(&self) {
        match self.candidate {
            Candidate::Ours => {
                let (sender, mut receiver) = mpsc::channel("items", BUFFER);
                self.run(|| {
                    sender.try_send(black_box(5_u64)).expect("the channel has room");
                    black_box(receiver.try_recv().expect("the channel has an item"));
                });
            }
            #[cfg(feature = "comparison")]
            Candidate::Timed => {
                let mut channel = crate::floor::TimedChannel::new(BUFFER);
                self.run(|| {
                    channel.send(black_box(5));
                    black_box(channel.receive());
                });
            }
            #[cfg(feature = "comparison")]
            Candidate::Floor => {
                let mut channel = crate::floor::Channel::new(BUFFER);
                self.run(|| {
                    channel.send(black_box(5));
                    black_box(channel.receive());
                });
            }
            _ => {
                let (sender, mut receiver) = tokio::sync::mpsc::channel(BUFFER);
                self.run(|| {
                    sender.try_send(black_box(5_u64)).expect("the channel has room");
                    black_box(receiver.try_recv().expect("the channel has an item"));
                });
            }
        }
    }

    fn process(&self, runtime: &Runtime) {
        if self.candidate == Candidate::Ours {
            let (sender, mut receiver) = mpsc::channel("items", BUFFER);
            self.run(|| {
                sender.try_send(black_box(5_u64)).expect("the channel has room");
                black_box(runtime.block_on(receiver.process(async |item: u64| black_box(item))));
            });
        } else {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(BUFFER);
            self.run(|| {
                sender.try_send(black_box(5_u64)).expect("the channel has room");
                let handled = async { black_box(receiver.recv().await) };
                black_box(runtime.block_on(handled));
            });
        }
    }

    fn function(&self) {
        match self.candidate {
            Candidate::Ours => self.run(|| {
                black_box(otel_tasks::in_span_sync("work", || black_box(5_u64)));
            }),
            Candidate::Traced => self.run(|| {
                black_box(traced());
            }),
            #[cfg(feature = "comparison")]
            Candidate::Floor => {
                let tracer = opentelemetry::global::tracer("floor");
                self.run(|| {
                    black_box(crate::floor::function(&tracer));
                });
            }
            _ => self.run(|| {
                black_box(bare());
            }),
        }
    }

    fn run(&self, mut work: impl FnMut()) {
        let spans = sdk::spans_of(&mut work);
        self.check(spans.len());
        measure::measure(self.mode, || (), |()| work());
    }

    /// Checks that the expected telemetry is recorded, so that a candidate is not measured while it records less.
    fn check(&self, spans: usize) {
        let has_span = match (self.side, self.candidate) {
            (_, Candidate::Bare) | (Side::Item, _) | (Side::Spawn, Candidate::Ours) => false,
            _ => self.variant == Variant::Sampled,
        };
        assert_eq!(spans, usize::from(has_span), "spans");
        let Some(metrics) = &self.metrics else { return };
        let expected: &[&str] = match (self.side, self.candidate) {
            (_, Candidate::Bare) => &[],
            (Side::Spawn, Candidate::Span) => &["task.duration", "task.queue.duration"],
            (Side::Item, _) => &["channel.queue.duration"],
            (Side::Process, _) => &["channel.process.duration", "channel.queue.duration"],
            _ => &[],
        };
        let mut recorded: Vec<String> = metrics.points().into_iter().map(|point| point.name).collect();
        recorded.retain(|name| name.ends_with(".duration"));
        recorded.sort();
        assert_eq!(recorded, expected, "metrics");
    }
}

#[inline(never)]
fn bare() -> u64 {
    black_box(5)
}

#[otel_tasks::traced(name = "work")]
fn traced() -> u64 {
    black_box(5)
}
