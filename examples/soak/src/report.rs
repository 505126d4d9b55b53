//! The checks at the end of a soak, and their table.

use std::collections::BTreeSet;
use std::fmt::Write;

use otel_testing::{Metric, MetricKind};

use crate::class::{Class, Tally};
use crate::spans::SpanCounts;

/// One side of the traffic: the observer's counts and the recorded telemetry.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Side<'a> {
    /// The name of the side.
    pub name: &'a str,
    /// The counts of the observer outside of the instrumentation.
    pub observed: &'a Tally,
    /// The span counts.
    pub spans: &'a SpanCounts,
    /// The duration metrics.
    pub durations: &'a [Metric],
    /// The metric of operations in flight, if the conventions define one.
    pub active: Option<&'a Metric>,
}

impl<'a> Side<'a> {
    /// Creates a side.
    #[must_use]
    pub fn new(
        name: &'a str,
        observed: &'a Tally,
        spans: &'a SpanCounts,
        durations: &'a [Metric],
        active: Option<&'a Metric>,
    ) -> Self {
        Self { name, observed, spans, durations, active }
    }
}

/// The results of all checks.
#[derive(Debug, Default)]
pub struct Report {
    text: String,
    failures: Vec<String>,
}

impl Report {
    /// Adds the result of a check, with its description.
    pub fn check(&mut self, result: Result<String, String>) {
        match result {
            Ok(text) => self.line(&text),
            Err(text) => {
                self.line(&format!("{text}  <-- failed"));
                self.failures.push(text);
            }
        }
    }

    /// Checks a side: the counts of spans, durations and the observer agree in each class, each span was ended by
    /// exactly one call, and no operation is in flight.
    pub fn side(&mut self, side: &Side<'_>) {
        let samples = Tally::default();
        for point in side.durations.iter().flat_map(Metric::points) {
            samples.add_many(Class::from_attributes(point.attributes()), point.count());
        }
        let (observed, spans, samples) =
            (side.observed.counts(), side.spans.classes().counts(), samples.counts());
        let row = |class: &str, [observed, spans, samples]: [u64; 3]| {
            format!("  {class:<60}{observed:>10}{spans:>10}{samples:>10}")
        };

        self.line(&format!("{:<62}{:>10}{:>10}{:>10}", side.name, "observed", "spans", "samples"));
        let classes: BTreeSet<_> = observed.keys().chain(spans.keys()).chain(samples.keys()).collect();
        let mut totals = [0; 3];
        for class in classes {
            let counts = [&observed, &spans, &samples].map(|counts| counts.get(class).copied().unwrap_or(0));
            for (total, count) in totals.iter_mut().zip(counts) {
                *total += count;
            }
            let text = row(&class.to_string(), counts);
            self.check(if counts == [counts[0]; 3] { Ok(text) } else { Err(text) });
        }
        let text = row("all", totals);
        self.check(if totals == [totals[0].max(1); 3] { Ok(text) } else { Err(text) });

        let (started, once) = (side.spans.started(), side.spans.ended_once());
        let text = format!(
            "  spans started {started}: ended once {once}, by drop {}, more than once {}, not dropped {}",
            side.spans.ended_by_drop(),
            side.spans.ended_again(),
            side.spans.alive()
        );
        self.check(if started == once { Ok(text) } else { Err(text) });

        let Some(active) = side.active else { return };
        let open: f64 = active.points().iter().map(|point| point.sum().abs()).sum();
        let text = format!("  in flight {open}");
        // The sum of a missing metric would be 0 as well, so the kind is checked.
        let passed = open == 0.0 && active.kind() == Some(MetricKind::UpDownCounter);
        self.check(if passed { Ok(text) } else { Err(text) });
    }

    /// The results of all checks as text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The failed checks.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{text}");
    }
}

#[cfg(test)]
mod tests;
