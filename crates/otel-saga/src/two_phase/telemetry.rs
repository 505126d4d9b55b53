//! The telemetry of two-phase commits: the spans of transactions and calls, metrics, alerts.
//!
//! Follows `docs/conventions.md` and `docs/sagas.md`, "Traces": calls are children of the transaction's span, whose
//! identity is in the journal, whichever process makes them.

use std::borrow::Cow;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::trace::{SpanKind, SpanRef};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use otel_operation::{
    AttributedCounter, AttributedHistogram, BoundedCache, ERROR_TYPE, LazyInstruments, Operation,
    OperationObserver, Outcome, Providers, SmallOnceMap, SpanStart, StartTime, Tracer,
};
use otel_propagation::context_with_remote_parent;

use super::flow::{Decision, State};
use super::names;
use super::participant::{Acknowledgement, Vote};
use crate::error::BoxError;
#[cfg(feature = "tracing")]
use crate::error::with_causes;
use crate::telemetry::{parse_traceparent, restart_span};

/// Bucket boundaries of calls in seconds: a call is a request and an fsync.
const CALL: [f64; 14] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// The tracer and the instruments of a coordinator.
#[derive(Debug)]
pub(super) struct Telemetry {
    tracer: Tracer,
    instruments: Arc<LazyInstruments<TwoPhaseInstruments>>,
    /// The series of calls by phase, transaction and participant.
    calls: BoundedCache<CallSeries>,
    /// The series of heuristic outcomes by outcome, transaction and participant.
    heuristics: BoundedCache<AttributedCounter>,
}

/// The maximum number of prepared attribute sets. Names come from the code of the application, so that it is rarely
/// reached; a set beyond the limit is built at each use.
const SERIES: usize = 256;

/// The failures of calls, and their success.
const CLASSES: usize = 5;

/// The attributes and the durations of the calls of one phase of one participant.
#[derive(Debug)]
struct CallSeries {
    attributes: Vec<KeyValue>,
    durations: SmallOnceMap<Option<&'static str>, AttributedHistogram<f64>, CLASSES>,
}

impl CallSeries {
    fn new(call: CallSpan<'_>) -> Self {
        let attributes = vec![
            KeyValue::new(names::NAME, call.name.to_owned()),
            KeyValue::new(names::PARTICIPANT, call.participant.to_owned()),
            KeyValue::new(names::PHASE, call.phase.as_str()),
        ];
        Self { attributes, durations: SmallOnceMap::new() }
    }

    fn record(&self, instruments: &TwoPhaseInstruments, outcome: &Outcome, elapsed: Duration) {
        let make = || {
            let mut attributes = self.attributes.clone();
            attributes.extend(outcome.error_type().map(|error| KeyValue::new(ERROR_TYPE, error.clone())));
            AttributedHistogram::new(&instruments.phase_duration, attributes)
        };
        let record = |series: &AttributedHistogram<f64>| series.record(elapsed.as_secs_f64());
        match outcome.error_type() {
            None => self.durations.get_or_init_with(None, make, record),
            Some(Cow::Borrowed(class)) => self.durations.get_or_init_with(Some(*class), make, record),
            // A class that is not static is not stored as a key.
            Some(Cow::Owned(_)) => record(&make()),
        }
    }
}

/// Returns the key of a series. Names do not contain the separator.
fn key(kind: &str, name: &str, participant: &str) -> String {
    format!("{kind}\0{name}\0{participant}")
}

#[derive(Debug)]
struct TwoPhaseInstruments {
    phase_duration: Histogram<f64>,
    /// Empty on coordinators that do not record the gauges.
    gauges: Arc<Gauges>,
    heuristics: Counter<u64>,
}

/// The last values of the gauges. They are observed when metrics are read, so that a coordinator that stops recording
/// them exports no old values.
#[derive(Debug, Default)]
struct Gauges(Mutex<Vec<InDoubt>>);

/// The transactions of one name that have not ended: their number, and the age of the oldest.
#[derive(Debug)]
pub(super) struct InDoubt {
    name: KeyValue,
    count: u64,
    oldest: Duration,
}

impl InDoubt {
    pub(super) fn new(name: &str, count: u64, oldest: Duration) -> Self {
        Self { name: KeyValue::new(names::NAME, name.to_owned()), count, oldest }
    }
}

impl Gauges {
    /// Calls the function with each value, unless the coordinator was dropped.
    fn observe(gauges: &Weak<Self>, mut observe: impl FnMut(&InDoubt)) {
        if let Some(gauges) = gauges.upgrade() {
            gauges.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(&mut observe);
        }
    }
}

impl TwoPhaseInstruments {
    fn new(meter: &Meter) -> Self {
        let gauges = Arc::<Gauges>::default();
        let observed = Arc::downgrade(&gauges);
        meter
            .u64_observable_gauge(names::IN_DOUBT)
            .with_unit("{transaction}")
            .with_description("Transactions in the journal that have not ended.")
            .with_callback(move |observer| {
                Gauges::observe(&observed, |one| {
                    observer.observe(one.count, std::slice::from_ref(&one.name))
                });
            })
            .build();
        let observed = Arc::downgrade(&gauges);
        meter
            .f64_observable_gauge(names::IN_DOUBT_AGE)
            .with_unit("s")
            .with_description("Age of the oldest transaction that has not ended.")
            .with_callback(move |observer| {
                Gauges::observe(&observed, |one| {
                    observer.observe(one.oldest.as_secs_f64(), std::slice::from_ref(&one.name));
                });
            })
            .build();
        Self {
            gauges,
            phase_duration: meter
                .f64_histogram(names::PHASE_DURATION)
                .with_unit("s")
                .with_description("Duration of calls of participants.")
                .with_boundaries(CALL.to_vec())
                .build(),
            heuristics: meter
                .u64_counter(names::HEURISTICS)
                .with_unit("{participant}")
                .with_description("Participants that decided on their own.")
                .build(),
        }
    }
}

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Prepare,
    Commit,
    Rollback,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => names::SPAN_PREPARE,
            Self::Commit => names::SPAN_COMMIT,
            Self::Rollback => names::SPAN_ROLLBACK,
        }
    }
}

/// The failure of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Failed,
    TimedOut,
    Panicked,
}

impl Failure {
    pub(super) fn outcome(self, error: &BoxError) -> Outcome {
        let outcome = match self {
            Self::Failed => Outcome::error("failed"),
            Self::TimedOut => Outcome::error("timeout"),
            Self::Panicked => Outcome::panicked(),
        };
        outcome.with_description(error.to_string())
    }
}

/// The answer of a participant as telemetry.
pub(super) trait CallReply {
    fn attribute(&self) -> Option<KeyValue>;
    fn outcome(&self) -> Outcome;
}

impl CallReply for Vote {
    fn attribute(&self) -> Option<KeyValue> {
        Some(KeyValue::new(names::VOTE, self.as_str()))
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::No(reason) => Outcome::error("refused").with_description(reason.clone()),
            Self::Unknown(reason) => Outcome::error("failed").with_description(reason.clone()),
            _ => Outcome::ok(),
        }
    }
}

impl CallReply for Acknowledgement {
    fn attribute(&self) -> Option<KeyValue> {
        self.heuristic().map(|what| KeyValue::new(names::OUTCOME, what))
    }

    fn outcome(&self) -> Outcome {
        Outcome::ok()
    }
}

/// The operation of a call.
#[derive(Debug)]
pub(super) struct Called {
    instruments: Arc<LazyInstruments<TwoPhaseInstruments>>,
    series: Arc<CallSeries>,
    votes: bool,
    reply: Option<KeyValue>,
}

impl Called {
    pub(super) fn reply(&mut self, reply: &impl CallReply) {
        self.reply = reply.attribute();
        self.votes = false;
    }
}

impl OperationObserver for Called {
    fn finish_span(&mut self, span: &SpanRef<'_>, _: &Outcome) {
        if let Some(reply) = self.reply.take() {
            span.set_attribute(reply);
        } else if self.votes {
            span.set_attribute(KeyValue::new(names::VOTE, Vote::Unknown(String::new()).as_str()));
        }
    }

    fn record_metrics(&mut self, outcome: &Outcome, elapsed: Duration) {
        if let Some(instruments) = self.instruments.get() {
            self.series.record(instruments, outcome, elapsed);
        }
    }
}

/// The attributes of a call's span.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSpan<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) participant: &'a str,
    pub(super) phase: Phase,
}

/// The operation of a transaction, with the decision once it is known.
#[derive(Debug, Default)]
pub(super) struct Decided(pub(super) Option<Decision>);

/// The operation of a transaction's span; `None` once it has ended.
pub(super) type TransactionSpan = Option<Operation<Decided>>;

impl OperationObserver for Decided {
    fn finish_span(&mut self, span: &SpanRef<'_>, _: &Outcome) {
        if let Some(decision) = self.0 {
            span.set_attribute(KeyValue::new(names::DECISION, decision.as_str()));
        }
    }

    fn record_metrics(&mut self, _: &Outcome, _: Duration) {}
}

impl Telemetry {
    pub(super) fn new(providers: &Providers) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let instruments = Arc::new(providers.instruments(scope.clone(), TwoPhaseInstruments::new));
        let (calls, heuristics) = (BoundedCache::new(SERIES), BoundedCache::new(SERIES));
        Self { tracer: providers.tracer(scope), instruments, calls, heuristics }
    }

    /// Starts the transaction's span, as a child of the current one.
    pub(super) fn begin(&self, id: &str, name: &str) -> Operation<Decided> {
        let started = StartTime::now();
        let attributes = || transaction(id, name);
        let start = span(name, started.time);
        Operation::start(&self.tracer, || start, &Context::current(), started, Decided::default(), attributes)
    }

    pub(super) fn call(&self, about: CallSpan<'_>, parent: &Context) -> Operation<Called> {
        let started = StartTime::now();
        let key = key(about.phase.as_str(), about.name, about.participant);
        let series = self.calls.get_or_insert(&key, || CallSeries::new(about));
        let record = Called {
            instruments: Arc::clone(&self.instruments),
            series: series.map_or_else(|| Arc::new(CallSeries::new(about)), Arc::clone),
            votes: about.phase == Phase::Prepare,
            reply: None,
        };
        let name = format!("{} {}", about.phase.as_str(), about.participant);
        let start = SpanStart::new(name, SpanKind::Internal, started.time);
        let attributes = || {
            let mut attributes = transaction(about.id, about.name);
            attributes.push(KeyValue::new(names::PARTICIPANT, about.participant.to_owned()));
            attributes
        };
        Operation::start(&self.tracer, || start, parent, started, record, attributes)
    }

    /// Records the span of a transaction again whose coordinator has died: under its original id if the id generator
    /// allows that, otherwise with a link to it.
    pub(super) fn interrupted(&self, id: &str, state: &State) {
        let started = &state.started;
        let start = span(&started.name, UNIX_EPOCH + Duration::from_millis(started.at));
        let lost = started.trace.as_deref().and_then(parse_traceparent);
        let parent = match (started.parent.as_deref().and_then(parse_traceparent), &lost) {
            (Some(parent), _) => context_with_remote_parent(parent),
            // Without a parent the span would be a root, and sampled independently of the lost one.
            (None, Some(lost)) if !lost.is_sampled() => context_with_remote_parent(lost.clone()),
            (None, _) => Context::new(),
        };
        let attributes = || {
            let mut attributes = transaction(id, &started.name);
            attributes.push(KeyValue::new(names::RECOVERED, true));
            attributes.push(KeyValue::new(names::OUTCOME, "interrupted"));
            attributes
        };
        let decided = Decided(state.decision);
        let begin =
            || Operation::start(&self.tracer, || start, &parent, StartTime::now(), decided, attributes);
        let (operation, _) = restart_span(lost, begin);
        operation.finish(&Outcome::error("interrupted"));
    }

    pub(super) fn heuristic(&self, name: &str, participant: &str, what: &'static str) {
        if let Some(instruments) = self.instruments.get() {
            let make = || {
                let attributes = vec![
                    KeyValue::new(names::NAME, name.to_owned()),
                    KeyValue::new(names::PARTICIPANT, participant.to_owned()),
                    KeyValue::new(names::OUTCOME, what),
                ];
                AttributedCounter::new(&instruments.heuristics, attributes)
            };
            match self.heuristics.get_or_insert(&key(what, name, participant), make) {
                Some(series) => series.add(1),
                None => make().add(1),
            }
        }
    }

    /// Sets the gauges. Without values this coordinator does not record them.
    pub(super) fn set_gauges(&self, gauges: Vec<InDoubt>) {
        if let Some(instruments) = self.instruments.get() {
            *instruments.gauges.0.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
        }
    }
}

fn span(name: &str, time: SystemTime) -> SpanStart {
    SpanStart::new(format!("{} {name}", names::SPAN_TRANSACTION), SpanKind::Internal, time)
}

fn transaction(id: &str, name: &str) -> Vec<KeyValue> {
    vec![KeyValue::new(names::NAME, name.to_owned()), KeyValue::new(names::ID, id.to_owned())]
}

/// Raises an alert with the error and its causes: an ERROR event of the `tracing` crate, with the feature of that name.
pub(super) fn alert(id: &str, participant: &str, what: &str, error: &dyn Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(twopc.id = id, twopc.participant = participant, error = with_causes(error), "{what}");
    #[cfg(not(feature = "tracing"))]
    let _ = (id, participant, what, error);
}
