//! The suite of the transports, adapted to tasks and channels: the headers of a scenario are the context of the code that
//! spawns or sends. The spans have kind CONSUMER, because the suite looks for the inbound kinds.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::SpanKind;
use otel_propagation::CompositePropagator;
use otel_tasks::sync::mpsc;
use otel_tasks::{Channel, Options, ParentMode, TaskInstrumentation, TaskSpan, in_context};
use otel_testing::Recorder;
use otel_testing::conformance::messaging::{drive, handle};
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, Reason, Role, Run, Scenario,
};

use crate::support::options;

mod tasks {
    otel_testing::conformance!(inbound, super::Subject::task);
}

mod channels {
    otel_testing::conformance!(inbound, super::Subject::channel);
}

#[derive(Clone, Copy, PartialEq)]
enum Subject {
    Task,
    Channel,
}

/// The headers of a scenario.
struct Headers(Vec<(String, Vec<u8>)>);

impl Extractor for Headers {
    fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name)?.first().copied()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn get_all(&self, name: &str) -> Option<Vec<&str>> {
        let values = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let values: Vec<_> = values.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect();
        (!values.is_empty()).then_some(values)
    }
}

fn caller(headers: Vec<(String, Vec<u8>)>) -> Context {
    CompositePropagator::default().extract_with_context(&Context::new(), &Headers(headers))
}

impl Subject {
    fn task() -> Self {
        Self::Task
    }

    fn channel() -> Self {
        Self::Channel
    }

    fn options(recorder: &Recorder, scenario: Scenario) -> Options {
        let options = options(recorder).with_parent_mode(ParentMode::Producer);
        match scenario {
            Scenario::PanickingHooks => options.with_filter(|_| panic!("hook")),
            _ => options.with_filter(move |_| !scenario.is_filtered()),
        }
    }

    /// Runs the work of a task or a handler through the instrumentation, in the context of a caller.
    async fn run(
        self,
        tasks: &TaskInstrumentation,
        scenario: Scenario,
        caller: &Context,
        work: impl Future<Output = Result<Vec<u8>, String>> + Send + 'static,
    ) -> CallResult {
        match self {
            Self::Task => {
                let span = TaskSpan::new("task").with_kind(SpanKind::Consumer).with_instrumentation(tasks);
                let task = in_context(caller, || span.wrap(work));
                match scenario.flow() {
                    Flow::DroppedBeforePoll | Flow::DroppedAtAwait => drive(scenario, task).await,
                    _ => match tokio::spawn(task).await {
                        Ok(Ok(value)) => CallResult::Value(value),
                        Ok(Err(error)) => CallResult::Error(error),
                        Err(error) => {
                            assert!(error.is_panic());
                            CallResult::Panicked
                        }
                    },
                }
            }
            Self::Channel => {
                let channel = Channel::new("jobs").with_instrumentation(tasks);
                let (sender, mut receiver) = mpsc::channel(channel, 1);
                in_context(caller, || sender.try_send(work))
                    .unwrap_or_else(|_| panic!("the channel is open"));
                drive(scenario, async { receiver.process(async |work| work.await).await.unwrap() }).await
            }
        }
    }
}

const PAYLOAD: &[u8] = b"one book";

impl Harness for Subject {
    fn role(&self) -> Role {
        Role::Inbound
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match scenario {
            Scenario::DroppedByPeer
            | Scenario::DroppedByUser
            | Scenario::ContextInBody
            | Scenario::BodyFails => Err("a task has no response beside its output."),
            Scenario::PublicEndpoint | Scenario::FilteredPublicEndpoint => {
                Err("the caller of a task is the same process.")
            }
            Scenario::UnboundedOperation(_) | Scenario::UnboundedHost(_) => {
                Err("the names of tasks and channels are the program's own.")
            }
            Scenario::HostileContentType(_) => Err("a task names no format."),
            Scenario::TwoLayers | Scenario::TaskBetweenLayers => {
                Err("a span that is requested twice is two spans.")
            }
            Scenario::PanickingPropagator => Err("inside a process no propagator takes part."),
            _ => Ok(()),
        }
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        let started = flow != Flow::DroppedBeforePoll;
        match self {
            Self::Task => {
                let wait = Measurement::sample("task.queue.duration").before_operation();
                let mut list =
                    vec![Measurement::sample("task.duration"), Measurement::in_flight("task.active")];
                list.extend(started.then_some(wait));
                list
            }
            Self::Channel => {
                let depth = Measurement::in_flight("channel.queue.depth").before_operation();
                let wait = Measurement::sample("channel.queue.duration").before_operation();
                match started {
                    true => vec![depth, wait, Measurement::sample("channel.process.duration")],
                    // The item stays in the channel, whose receiver is dropped.
                    false => vec![depth, Measurement::step("channel.dropped.items")],
                }
            }
        }
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (subject, tasks) = (*self, TaskInstrumentation::new(Self::options(recorder, scenario)));
        let is_second = scenario == Scenario::SecondOperation;

        let bare = ContextProbe::new(recorder);
        let inside = async {
            if is_second {
                handle(PAYLOAD, scenario, &bare, std::future::ready(())).await.unwrap();
            }
        };
        let without = drive(scenario, handle(PAYLOAD, scenario, &bare, inside)).await;

        let probe = ContextProbe::new(recorder);
        let work = {
            let (probe, tasks) = (probe.clone(), tasks.clone());
            async move {
                let inside = async {
                    if is_second {
                        let second = caller(scenario.second_headers(Role::Inbound));
                        let (probe, tasks) = (probe.clone(), tasks.clone());
                        let work =
                            async move { handle(PAYLOAD, scenario, &probe, std::future::ready(())).await };
                        let result = Box::pin(subject.run(&tasks, scenario, &second, work)).await;
                        assert_eq!(result, CallResult::Value(PAYLOAD.to_vec()));
                    }
                };
                handle(PAYLOAD, scenario, &probe, inside).await
            }
        };
        let with = subject.run(&tasks, scenario, &caller(scenario.headers(Role::Inbound)), work).await;
        Observed::new(Run::new(with, &probe), Run::new(without, &bare))
    }
}
