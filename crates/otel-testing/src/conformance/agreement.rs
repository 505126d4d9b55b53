//! Spans and metrics agree: the same number, the same `error.type`, the same durations.

use std::collections::BTreeMap;

use opentelemetry_sdk::trace::SpanData;

use super::judge::error_type;
use crate::{MetricKind, Recorder};

/// The difference that one more reading of the clock, or rounding, may make for each span, in seconds.
const ROUNDING: f64 = 1e-6;

/// Number and total duration in seconds, by `error.type`.
type Tally = BTreeMap<String, (u64, f64)>;

/// Compares the spans with all durations but `waits`.
pub(super) fn spans_and_metrics(
    recorder: &Recorder,
    spans: &[SpanData],
    waits: &[&str],
) -> Result<(), String> {
    let measured = tally_metrics(recorder, waits);
    let recorded = tally_spans(spans);
    let numbers = |tally: &Tally| tally.iter().map(|(error, (n, _))| (error.clone(), *n)).collect::<Vec<_>>();
    if numbers(&recorded) != numbers(&measured) {
        return Err(format!(
            "spans and durations disagree: spans by error.type {:?}, samples {:?}",
            numbers(&recorded),
            numbers(&measured)
        ));
    }
    for (error, (count, seconds)) in recorded {
        let other = measured[&error].1;
        if (seconds - other).abs() > ROUNDING * count as f64 {
            return Err(format!("spans took {seconds} s, by the metric {other} s (error.type {error:?})"));
        }
    }
    Ok(())
}

fn tally_spans(spans: &[SpanData]) -> Tally {
    let mut tally = Tally::new();
    for span in spans {
        let error = error_type(span).map(|value| value.as_str().into_owned()).unwrap_or_default();
        let seconds = span.end_time.duration_since(span.start_time).map_or(0.0, |d| d.as_secs_f64());
        let entry = tally.entry(error).or_default();
        *entry = (entry.0 + 1, entry.1 + seconds);
    }
    tally
}

fn tally_metrics(recorder: &Recorder, waits: &[&str]) -> Tally {
    let mut tally = Tally::new();
    let metrics = recorder.collect();
    let durations = metrics
        .values()
        .filter(|metric| metric.kind() == Some(MetricKind::Histogram) && metric.unit() == "s")
        .filter(|metric| !waits.contains(&metric.name()));
    for point in durations.flat_map(|metric| metric.points()) {
        let error =
            point.attribute("error.type").map(|value| value.as_str().into_owned()).unwrap_or_default();
        let entry = tally.entry(error).or_default();
        *entry = (entry.0 + point.count(), entry.1 + point.sum());
    }
    // A handle that was bound and never used exports a series without samples.
    tally.retain(|_, (count, _)| *count > 0);
    tally
}
