//! The number of measurements: exactly those that the harness lists for the flow, with or without a span.

use std::collections::BTreeMap;

use super::{Flow, Harness, Observed, ProbePoint, Scenario, input::ids};
use crate::{MetricKind, Recorder, meter::Tally};

/// The measurements of an operation in one metric. A [`Harness`] lists those of one run of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    metric: &'static str,
    kind: MetricKind,
    count: u64,
    is_before_operation: bool,
}

impl Measurement {
    /// One sample of a histogram.
    #[must_use]
    pub const fn sample(metric: &'static str) -> Self {
        Self::new(metric, MetricKind::Histogram)
    }

    /// One increment of an up-down counter when the operation starts and one decrement when it ends.
    #[must_use]
    pub const fn in_flight(metric: &'static str) -> Self {
        Self::new(metric, MetricKind::UpDownCounter)
    }

    /// One step of a counter, by 1.
    #[must_use]
    pub const fn step(metric: &'static str) -> Self {
        Self::new(metric, MetricKind::Counter)
    }

    /// Says that it is over when the operation starts: the sample of a wait, which is no duration of a span; the time in a
    /// queue, which is empty again while the operation runs.
    #[must_use]
    pub const fn before_operation(mut self) -> Self {
        self.is_before_operation = true;
        self
    }

    fn is_in_flight(&self) -> bool {
        self.kind == MetricKind::UpDownCounter && !self.is_before_operation
    }

    /// Returns true for the histogram of a wait.
    pub(super) fn is_wait(&self) -> bool {
        self.kind == MetricKind::Histogram && self.is_before_operation
    }

    pub(super) fn metric(&self) -> &'static str {
        self.metric
    }

    const fn new(metric: &'static str, kind: MetricKind) -> Self {
        Self { metric, kind, count: 1, is_before_operation: false }
    }
}

pub(super) fn all<H: Harness>(
    harness: &H,
    scenario: Scenario,
    recorder: &Recorder,
    observed: &[Observed],
) -> Result<(), String> {
    // A filtered operation has no measurement, not even one of zero.
    let listed = if scenario.is_filtered() { Vec::new() } else { harness.measurements(scenario.flow()) };
    if !harness.measurements(Flow::Succeeds).iter().any(|one| one.kind == MetricKind::Histogram) {
        return Err("the harness lists no duration".to_owned());
    }
    let mut expected = BTreeMap::<&str, Measurement>::new();
    for one in &listed {
        expected
            .entry(one.metric)
            .and_modify(|sum| sum.count += one.count)
            .or_insert(Measurement { count: one.count, ..*one });
    }
    let recorded = recorder.measurements();
    if let Some((metric, tally)) = recorded.iter().find(|(metric, _)| !expected.contains_key(&***metric)) {
        return Err(format!("{metric} has {} measurements, and the harness lists none", tally.calls));
    }
    // The application declares bound instruments for all metrics or for none.
    let is_bound = |tally: &Tally| tally.calls > tally.unbound && tally.kind != MetricKind::Gauge;
    if let (true, Some(metric)) = (recorded.values().any(is_bound), recorder.unbound_metrics().first()) {
        return Err(format!("{metric} is recorded past its bound instrument, as other metrics are not"));
    }
    let operations = observed.len() as u64 * scenario.operations();
    for (metric, one) in &expected {
        let Some(tally) = recorded.get(*metric) else {
            return Err(format!("{metric} was not recorded"));
        };
        exact(tally, one, operations).map_err(|what| format!("{metric}: {what}"))?;
    }
    let open: u64 = listed.iter().filter(|one| one.is_in_flight()).map(|one| one.count).sum();
    observed.iter().try_for_each(|seen| while_it_runs(scenario, seen, open as f64))
}

fn exact(tally: &Tally, expected: &Measurement, operations: u64) -> Result<(), String> {
    if tally.kind != expected.kind {
        return Err(format!("it is a {:?}, not a {:?}", tally.kind, expected.kind));
    }
    let count = expected.count * operations;
    let Tally { calls, sum, increments, decrements, lowest, .. } = *tally;
    let right = match tally.kind {
        MetricKind::UpDownCounter => {
            (calls, increments, decrements) == (2 * count, count, count) && lowest == 0.0
        }
        MetricKind::Counter => (calls, sum) == (count, count as f64),
        MetricKind::Histogram | MetricKind::Gauge => calls == count,
    };
    if right {
        return Ok(());
    }
    Err(match tally.kind {
        MetricKind::UpDownCounter => format!(
            "{increments} increments, {decrements} decrements, {} other steps, lowest value {lowest}; \
             expected {count} pairs",
            calls - increments - decrements
        ),
        MetricKind::Counter => format!("{calls} steps with the sum {sum}, expected {count}"),
        MetricKind::Histogram | MetricKind::Gauge => format!("{calls} samples, expected {count}"),
    })
}

/// An operation is in flight while its handler or peer runs. A body may outlast it. A second operation, which has another
/// span, runs inside of the first one.
fn while_it_runs(scenario: Scenario, observed: &Observed, open: f64) -> Result<(), String> {
    let inside = |point: &ProbePoint| matches!(point, ProbePoint::Call | ProbePoint::AfterAwait);
    let snapshots = &observed.instrumented.snapshots;
    let first = snapshots.first().map(|snapshot| ids(&snapshot.span));
    for snapshot in snapshots.iter().filter(|snapshot| inside(&snapshot.point)) {
        let is_second =
            scenario == Scenario::SecondOperation && first.is_some_and(|first| first != ids(&snapshot.span));
        let open = if is_second { 2.0 * open } else { open };
        if snapshot.in_flight != open {
            let (point, found) = (snapshot.point, snapshot.in_flight);
            return Err(format!("at {point:?}, {found} operations are in flight, not {open}"));
        }
    }
    Ok(())
}
