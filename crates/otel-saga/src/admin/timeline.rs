//! The journal of an instance as readable text.
//!
//! Inputs and outputs of steps are shown only on request, because they are the application's data.

use std::fmt;

use serde_json::Value;

use super::Instance;
use crate::flow::{Phase, Record, Resolution, SagaOutcome, StepKind};

/// One event of an instance, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineEntry {
    /// The time in milliseconds since the Unix epoch. Only starts of sagas and attempts, and resolutions,
    /// have one.
    pub at: Option<u64>,
    /// The step that the event concerns.
    pub step: Option<String>,
    /// The event.
    pub event: String,
}

impl Instance {
    /// Returns all events in order. Inputs and outputs of steps are included only with `payloads`; texts of errors
    /// and reasons always.
    #[must_use]
    pub fn timeline(&self, payloads: bool) -> Vec<TimelineEntry> {
        let value = |verb: &str, value: &Value| {
            if payloads { format!("{verb}: {value}") } else { verb.to_owned() }
        };
        let entry = |record: &Record| match record {
            Record::Started(started) => {
                let steps: Vec<String> =
                    started.steps.iter().map(|step| name(&step.name, step.kind)).collect();
                let verb = format!("{} {} of {}", started.saga, started.version, steps.join(", "));
                (Some(started.at), None, value(&format!("started {verb}"), &started.input))
            }
            Record::Intent { step, phase, attempt, at, .. } => {
                let verb = match phase {
                    Phase::Action => "attempt",
                    Phase::Compensation => "undoing, attempt",
                };
                (Some(*at), Some(*step), format!("{verb} {attempt}"))
            }
            Record::Done { step, output } => (None, Some(*step), value("done", output)),
            Record::Refused { step, error } => (None, Some(*step), format!("refused: {error}")),
            Record::Failed { step, phase, error, retry_at, gave_up, .. } => {
                let verb = match phase {
                    Phase::Action => "failed",
                    Phase::Compensation => "undoing failed",
                };
                let next = if *gave_up {
                    "given up".to_owned()
                } else {
                    format!("again from {}", format_utc(*retry_at))
                };
                (None, Some(*step), format!("{verb}, {next}: {error}"))
            }
            Record::Interrupted { step, phase, retry_at } => {
                let verb = match phase {
                    Phase::Action => "interrupted",
                    Phase::Compensation => "undoing interrupted",
                };
                (None, Some(*step), format!("{verb}, again from {}", format_utc(*retry_at)))
            }
            Record::Compacted { step, phase, first, last, failures } => {
                let verb = match phase {
                    Phase::Action => "attempts",
                    Phase::Compensation => "undoing, attempts",
                };
                (None, Some(*step), format!("{verb} {first} to {last} left out, {failures} failed"))
            }
            Record::Undone { step } => (None, Some(*step), "undone".to_owned()),
            Record::CancelRequested => (None, None, "asked to be cancelled".to_owned()),
            Record::Parked { reason } => (None, None, format!("parked: {reason}")),
            Record::ParkRequested { reason } => (None, None, format!("parking requested: {reason}")),
            Record::Unparked => (None, None, "unparked or retried".to_owned()),
            Record::Resolved { step, resolution, who, why, at } => {
                let resolution = match resolution {
                    Resolution::Done(output) => value("done", output),
                    resolution => resolution.as_str().to_owned(),
                };
                (Some(*at), Some(*step), format!("resolved by {who} ({why}): {resolution}"))
            }
            Record::Ended { outcome: SagaOutcome::Completed } => (None, None, "completed".to_owned()),
            Record::Ended { outcome: SagaOutcome::Compensated } => (None, None, "compensated".to_owned()),
        };
        let step = |number: u16| {
            let spec = self.state.started.steps.get(usize::from(number));
            spec.map_or_else(|| number.to_string(), |spec| spec.name.clone())
        };
        let entries = self.records.iter().map(entry);
        entries.map(|(at, number, event)| TimelineEntry { at, step: number.map(step), event }).collect()
    }
}

fn name(name: &str, kind: StepKind) -> String {
    match kind {
        StepKind::Compensatable => name.to_owned(),
        StepKind::Pivot => format!("{name} (pivot)"),
        StepKind::Forward => format!("{name} (forward)"),
    }
}

/// One line: the time, the step and the event.
impl fmt::Display for TimelineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.map(format_utc).unwrap_or_default();
        write!(f, "{at:<24}  ")?;
        if let Some(step) = &self.step {
            write!(f, "{step}: ")?;
        }
        f.write_str(&self.event)
    }
}

/// Formats milliseconds since the Unix epoch as RFC 3339 in UTC.
#[must_use]
pub fn format_utc(millis: u64) -> String {
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Computes the civil date of a day's number in years that begin in March, so that a leap day is the last of its
    // year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

#[cfg(test)]
mod tests {
    use super::format_utc;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(format_utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_utc(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(format_utc(951_868_799_999), "2000-02-29T23:59:59.999Z");
        assert_eq!(format_utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(format_utc(1_767_225_599_000), "2025-12-31T23:59:59.000Z");
        assert!(format_utc(u64::MAX).ends_with('Z'));
    }
}
