//! The suite that every transport mounts: the promises that all of them make, one scenario each.
//!
//! A crate implements [`Harness`] for each side of its transport and mounts the suite in its tests:
//!
//! ```
//! use otel_testing::Recorder;
//! use otel_testing::conformance::{Flow, Harness, Measurement, Observed, Reason, Role, Scenario};
//!
//! struct Server;
//!
//! impl Server {
//!     fn new() -> Self {
//!         Self
//!     }
//! }
//!
//! impl Harness for Server {
//!     fn role(&self) -> Role {
//!         Role::Inbound
//!     }
//!
//!     fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
//!         match scenario {
//!             Scenario::ContextInBody => Err("A datagram has no body that user code produces."),
//!             _ => Ok(()),
//!         }
//!     }
//!
//!     fn measurements(&self, _: Flow) -> Vec<Measurement> {
//!         vec![
//!             Measurement::sample("datagram.server.duration"),
//!             Measurement::in_flight("datagram.server.active"),
//!         ]
//!     }
//!
//!     async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
//! #       let _ = recorder;
//!         let headers = scenario.headers(Role::Inbound);
//!         let flow = scenario.flow();
//!         // Send a message with these headers through the instrumentation, let the handler take this flow, and do
//!         // the same without instrumentation.
//! #       unreachable!("{headers:?} {flow:?}")
//!     }
//! }
//!
//! mod server {
//!     otel_testing::conformance!(inbound, super::Server::new);
//! }
//! # fn main() {}
//! ```
//!
//! Each scenario becomes a test. The harness only runs traffic; the suite does all the asserting, over what the
//! recorder has and what the harness [observed](Observed):
//!
//! 1. The caller sees what it would have seen without instrumentation.
//! 2. Each operation is one span that was ended explicitly once, one duration sample, one increment and one decrement of
//!    what is in flight, one step of each counter: exactly the [`Measurement`]s that the harness lists, also where no
//!    span is recorded and after the SDK was shut down.
//! 3. The operation's context is current wherever user code runs.
//! 4. An inbound operation takes its parent from the headers alone; an outbound one sends its own context, and nothing
//!    stale with it.
//! 5. Nothing that an untrusted peer chooses becomes a span name or an attribute of a metric, or decides whether an
//!    operation is recorded; hostile headers do no harm.
//! 6. Secrets are not recorded.
//! 7. Spans and metrics agree on number, `error.type` and duration.
//! 8. The received context is passed on when no span is recorded, be it for a filter; but not that of an untrusted caller.
//! 9. A panic of a hook, a propagator or a span processor does not reach the caller, and the operation is recorded.
//! 10. Layers that are stacked record an operation once, and each operation that is made inside of another one is recorded.
//!
//! The suite assumes the following: context travels as W3C `traceparent`, `tracestate` and `baggage`; the span's
//! `error.type` is repeated on the metric; durations are histograms in seconds, one sample for each span, recorded
//! before the span is ended. A messaging harness sets the mode in which the producer is the parent also when something
//! else is current.

mod agreement;
mod context;
mod counts;
pub mod database;
mod drive;
mod input;
mod judge;
pub mod messaging;
mod observed;
mod panicking;
mod scenario;
mod second;

use std::time::Duration;

use opentelemetry::trace::FutureExt as _;
use opentelemetry_sdk::trace::Sampler;

use crate::Recorder;

pub use counts::Measurement;
pub use drive::on_task;
pub use observed::{CallResult, ContextProbe, Observed, ProbePoint, Run};
pub use panicking::PanickingPropagator;
pub use scenario::{Flow, Scenario};

/// The side of a transport that a harness runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a message either comes in or goes out")]
pub enum Role {
    /// A server or a consumer: takes its parent from headers.
    Inbound,
    /// A client or a producer: writes headers.
    Outbound,
}

/// Why a transport does not support a scenario. The README of its crate has the same text.
pub type Reason = &'static str;

/// One side of a transport, with its instrumentation, ready to be put into a [`Scenario`].
pub trait Harness: Send + Sync {
    /// The side of the transport that this harness runs.
    fn role(&self) -> Role;

    /// Returns `Ok` if the scenario can happen in this transport.
    ///
    /// # Errors
    /// The reason why it cannot.
    fn supports(&self, scenario: Scenario) -> Result<(), Reason>;

    /// Returns true if an operation whose future is dropped is an error (`error.type` and the status Error); an inbound one
    /// also if its body or stream is dropped. It is one in HTTP and for a gRPC client; a gRPC server does not count CANCELLED
    /// among its errors, and a message may be delivered after its sender stopped to wait.
    fn dropped_is_error(&self) -> bool {
        true
    }

    /// Returns true if an outbound operation carries its context to the peer. A database client does not, or only by an
    /// option: then nothing is expected at the peer, and the harness declares the scenarios of headers as not supported.
    fn propagates(&self) -> bool {
        true
    }

    /// All measurements of one run of this flow, in the metrics of the operation itself and of what the harness does
    /// beside it (receiving and settling a message). A metric that is not listed must not be recorded. The list depends
    /// on the flow alone, because sampling must not change metrics.
    fn measurements(&self, flow: Flow) -> Vec<Measurement>;

    /// Runs the scenario once with instrumentation that records to `recorder`, and once bare: the same flow, with a probe
    /// at the same points of its handler or peer. It returns when the
    /// operation is over. It catches the panic of [`Scenario::Panic`].
    fn run(&self, recorder: &Recorder, scenario: Scenario) -> impl Future<Output = Observed> + Send;
}

/// The time that a scenario may take; none needs a second.
const LIMIT: Duration = Duration::from_secs(30);
/// The time that a span may stay open after that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs one scenario and judges it. For the usual case there is [`conformance!`](crate::conformance!).
///
/// # Errors
/// What was wrong, with the rendered spans and metrics.
///
/// # Panics
/// If the harness panics, or a span does not finish in time. Needs a tokio runtime with time enabled.
pub async fn check<H: Harness>(harness: &H, scenario: Scenario) -> Result<(), String> {
    let role = harness.role();
    let mut builder = Recorder::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_patience(PATIENCE);
    if scenario == Scenario::PanickingProcessor {
        builder = builder.with_span_processor(panicking::PanickingProcessor);
    }
    let recorder = builder.build();
    if scenario.shuts_down() {
        recorder.shutdown();
    }
    let fail = |complaint: String| {
        format!("{scenario:?}, {role:?}: {complaint}\n\n{}\n{}", recorder.tree(), recorder.metrics())
    };
    let mut observed = Vec::new();
    for run in scenario.runs() {
        let running = harness.run(&recorder, run).with_context(run.ambient(role));
        let Ok(seen) = tokio::time::timeout(LIMIT, running).await else {
            return Err(fail(format!("it took more than {LIMIT:?}")));
        };
        observed.push(seen);
    }
    recorder.wait_until_finished().await;
    judge::all(harness, scenario, &recorder, &observed).map_err(fail)
}

/// The body of one test that [`conformance!`](crate::conformance!) makes: runs the scenario, or asserts that the
/// harness gave a reason for not supporting it, and that the README has this reason.
///
/// # Panics
/// If the scenario fails, or there is no such reason.
#[track_caller]
pub fn test<H: Harness>(role: Role, harness: impl FnOnce() -> H, scenario: Scenario, readme: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let verdict = match runtime {
        Ok(runtime) => runtime.block_on(async {
            let harness = harness();
            assert_eq!(harness.role(), role, "the suite is mounted for the other side");
            match harness.supports(scenario) {
                Ok(()) => check(&harness, scenario).await,
                Err(reason) => unsupported(scenario, reason, readme),
            }
        }),
        Err(error) => Err(format!("no runtime: {error}")),
    };
    if let Err(complaint) = verdict {
        panic!("{complaint}");
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a scenario that is left out must be visible in the output of the tests"
)]
fn unsupported(scenario: Scenario, reason: Reason, readme: &str) -> Result<(), String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words(reason).is_empty() {
        return Err(format!("{scenario:?} is not supported, and no reason is given"));
    }
    if !words(readme).contains(&words(reason)) {
        return Err(format!("the README does not say why {scenario:?} is not supported: {reason}"));
    }
    println!("{scenario:?} is not supported: {reason}");
    Ok(())
}

/// Asserts that a list of scenarios is the whole list for a side, so that none is without a test.
///
/// # Panics
/// If one is missing.
#[track_caller]
pub fn assert_complete(role: Role, scenarios: &[Scenario]) {
    let missing: Vec<_> = Scenario::all(role).filter(|scenario| !scenarios.contains(scenario)).collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
}

/// Mounts the suite: `conformance!(inbound, path::to::constructor)` or `conformance!(outbound, …)`. The constructor
/// is a function without arguments that gives the [`Harness`](crate::conformance::Harness); it is called inside a
/// single-threaded tokio runtime. Each scenario becomes a test in the module of the call.
#[macro_export]
macro_rules! conformance {
    (inbound, $harness:path) => {
        $crate::conformance!(@tests Inbound, $harness,
            malformed_parent: MalformedParent,
            two_parents: TwoParents,
            non_utf8_headers: NonUtf8Headers,
            huge_headers: HugeHeaders,
            many_headers: ManyHeaders,
            public_endpoint: PublicEndpoint,
            filtered_public_endpoint: FilteredPublicEndpoint,
            context_in_body: ContextInBody,
            unbounded_host: UnboundedHost(0),
        );
    };
    (outbound, $harness:path) => {
        $crate::conformance!(@tests Outbound, $harness,
            stale_headers: StaleHeaders,
            stale_baggage: StaleBaggage,
            callers_headers: CallersHeaders,
        );
    };
    (@tests $role:ident, $harness:path, $($own:ident: $own_scenario:ident $(($own_run:literal))?,)*) => {
        $crate::conformance!(@each $role, $harness,
            success: Success,
            error: Error,
            panic: Panic,
            dropped_before_poll: DroppedBeforePoll,
            dropped_at_await: DroppedAtAwait,
            dropped_by_peer: DroppedByPeer,
            dropped_by_user: DroppedByUser,
            body_fails: BodyFails,
            parent: Parent,
            no_parent: NoParent,
            unsampled_parent: UnsampledParent,
            baggage: Baggage,
            sdk_shut_down: SdkShutDown,
            unbounded_operation: UnboundedOperation(0),
            unbounded_error: UnboundedError(0),
            secrets: Secrets,
            two_layers: TwoLayers,
            task_between_layers: TaskBetweenLayers,
            second_operation: SecondOperation,
            hostile_content_type: HostileContentType(0),
            filtered: Filtered,
            panicking_hooks: PanickingHooks,
            panicking_propagator: PanickingPropagator,
            panicking_processor: PanickingProcessor,
            $($own: $own_scenario $(($own_run))?,)*
        );
    };
    (@each $role:ident, $harness:path, $($name:ident: $scenario:ident $(($run:literal))?,)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::test(
                    $crate::conformance::Role::$role,
                    $harness,
                    $crate::conformance::Scenario::$scenario $(($run))?,
                    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")),
                );
            }
        )*

        #[test]
        fn every_scenario_has_a_test() {
            $crate::conformance::assert_complete(
                $crate::conformance::Role::$role,
                &[$($crate::conformance::Scenario::$scenario $(($run))?),*],
            );
        }
    };
}

/// Sets the options of a scenario on any type of options: its filter, its hooks that panic (those listed, with the
/// patterns of their arguments), and its propagator.
#[macro_export]
macro_rules! scenario_options {
    ($options:expr, $scenario:expr $(, $hook:ident($($argument:pat),*))*) => {{
        let (options, scenario): (_, $crate::conformance::Scenario) = ($options, $scenario);
        let options = options.with_filter(move |_| !scenario.is_filtered());
        match scenario {
            $crate::conformance::Scenario::PanickingHooks => {
                options.with_filter(|_| panic!("hook"))$(.$hook(|$($argument),*| panic!("hook")))*
            }
            $crate::conformance::Scenario::PanickingPropagator => {
                options.with_propagator($crate::conformance::PanickingPropagator)
            }
            _ => options,
        }
    }};
}
