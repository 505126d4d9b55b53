//! A compacted journal leads to the same state as the complete one, now and after further records, and stays short.

use proptest::prelude::*;
use serde_json::json;

use super::{Compaction, compact};
use crate::flow::{FoldError, Impossible, Phase, Record, Started, State, StepKind, StepSpec, fold};

const ACTION: Phase = Phase::Action;
const UNDO: Phase = Phase::Compensation;

fn started() -> Record {
    let steps = vec![
        StepSpec::new("flight", StepKind::Compensatable, 0),
        StepSpec::new("hotel", StepKind::Compensatable, 0),
        StepSpec::new("pay", StepKind::Pivot, 1),
        StepSpec::new("ship", StepKind::Forward, 2),
    ];
    Record::Started(Started::new("trip", 1, steps, json!(null), 0))
}

fn intent(step: u16, phase: Phase, attempt: u32) -> Record {
    Record::Intent { step, phase, attempt, at: u64::from(attempt), span: Some(format!("{attempt:x}")) }
}

fn failed(step: u16, phase: Phase, retry_at: u64) -> Record {
    let error = format!("failure before {retry_at}");
    Record::Failed { step, phase, error, retry_at, gave_up: false, wait: Some(retry_at) }
}

fn compacted(first: u32, last: u32, failures: u32) -> Record {
    Record::Compacted { step: 0, phase: UNDO, first, last, failures }
}

/// A saga that undoes its first step.
fn undoing() -> Vec<Record> {
    let refused = Record::Refused { step: 1, error: "no".to_owned() };
    let done = Record::Done { step: 0, output: json!(1) };
    vec![started(), intent(0, ACTION, 1), intent(1, ACTION, 1), done, refused]
}

/// Replaces the last records. Returns true if there were any to remove.
fn shorten(records: &mut Vec<Record>) -> bool {
    let Some(Compaction { from, records: short }) = compact(records) else { return false };
    assert!(short.len() < records.len() - from);
    records.truncate(from);
    records.extend(short);
    true
}

#[test]
fn the_first_attempt_and_the_last_failed_one_stay() {
    let mut records = undoing();
    for attempt in 1..=5 {
        records.extend([intent(0, UNDO, attempt), failed(0, UNDO, 9)]);
    }
    records.push(intent(0, UNDO, 6));
    let mut expected = undoing();
    expected.extend([intent(0, UNDO, 1), failed(0, UNDO, 9), compacted(2, 4, 3)]);
    expected.extend([intent(0, UNDO, 5), failed(0, UNDO, 9), intent(0, UNDO, 6)]);
    assert!(shorten(&mut records));
    assert_eq!(records, expected);
    assert!(!shorten(&mut records), "nothing is left to remove");
}

#[test]
fn a_thousand_failing_compensations_leave_few_records() {
    let (mut records, mut complete) = (undoing(), undoing());
    for attempt in 1..=1000 {
        let mut more = vec![intent(0, UNDO, attempt)];
        if attempt % 7 == 0 {
            more.push(Record::Interrupted { step: 0, phase: UNDO, retry_at: 4 });
        } else {
            more.push(failed(0, UNDO, u64::from(attempt)));
        }
        records.extend(more.clone());
        complete.extend(more);
        if attempt % 32 == 0 {
            shorten(&mut records);
        }
        assert!(records.len() <= undoing().len() + 5 + 2 * 33, "{} records after {attempt}", records.len());
    }
    let state = fold(&records).unwrap();
    assert_eq!(state, fold(&complete).unwrap());
    let undo = &state.steps[0].compensation;
    assert_eq!((undo.attempts, undo.failures, undo.first_at), (1000, 858, 1));
}

#[test]
fn records_before_a_request_stay() {
    let mut records = undoing();
    for attempt in 1..=9 {
        records.extend([intent(0, UNDO, attempt), failed(0, UNDO, 9)]);
    }
    records.push(Record::Unparked);
    assert_eq!(compact(&records), None);
    records.extend([intent(0, UNDO, 10), failed(0, UNDO, 9), intent(0, UNDO, 11), failed(0, UNDO, 9)]);
    let records = compact(&records).unwrap().records;
    assert_eq!(records, [compacted(10, 10, 1), intent(0, UNDO, 11), failed(0, UNDO, 9)]);
}

#[test]
fn attempts_that_an_earlier_version_left_open_stay() {
    let mut records = undoing();
    // The second attempt interrupts the first one, and takes over the retry that was requested during it.
    records.extend([intent(0, UNDO, 1), Record::Unparked, intent(0, UNDO, 2), failed(0, UNDO, 7)]);
    assert_eq!(fold(&records).unwrap().steps[0].compensation.retry_at, 0);
    records.extend([intent(0, UNDO, 3), failed(0, UNDO, 9)]);
    assert_eq!(fold(&records).unwrap().steps[0].compensation.retry_at, 9);
    assert_eq!(compact(&records), None);
}

#[test]
fn impossible_counts_are_refused() {
    let mut records = undoing();
    records.extend([intent(0, UNDO, 1), failed(0, UNDO, 9)]);
    assert!(fold(records.iter().chain([&compacted(2, 3, 2)])).is_ok());
    let impossible = |reason| Err(FoldError::Impossible { index: 7, reason });
    for wrong in [compacted(1, 3, 0), compacted(3, 3, 0), compacted(2, 1, 0), compacted(2, 3, 3)] {
        assert_eq!(fold(records.iter().chain([&wrong])), impossible(Impossible::AttemptNumber), "{wrong:?}");
    }
    let other = Record::Compacted { step: 0, phase: ACTION, first: 2, last: 3, failures: 0 };
    assert_eq!(fold(records.iter().chain([&other])), impossible(Impossible::Decided));
    records.push(intent(0, UNDO, 2));
    let while_open = Err(FoldError::Impossible { index: 8, reason: Impossible::AttemptNumber });
    assert_eq!(fold(records.iter().chain([&compacted(3, 4, 0)])), while_open);
}

/// Returns the record of this choice for this state; it may be impossible.
fn record(state: &State, choice: u8, step: u16, time: u64) -> Record {
    let phase = if state.is_aborting() { UNDO } else { ACTION };
    let attempt = state.step(step).unwrap().phase_state(phase).attempts + 1;
    match choice {
        0..=69 => intent(step, phase, attempt),
        70..=139 => failed(step, phase, time),
        140..=169 => Record::Interrupted { step, phase, retry_at: time },
        170..=173 => Record::Done { step, output: json!(time) },
        174 => Record::Refused { step, error: "no".to_owned() },
        175 => Record::Undone { step },
        176 => Record::CancelRequested,
        177..=178 => Record::Unparked,
        179 => Record::Parked { reason: "a look".to_owned() },
        // The late outcome of an action beside compensations.
        _ => failed(step, ACTION, time),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_journal_leads_to_the_same_state(
        choices in prop::collection::vec((0_u8..=184, 0_u16..4, 0_u64..1000), 0..800),
        every in 1_usize..40,
    ) {
        let (mut complete, mut short) = (vec![started()], vec![started()]);
        let mut state = fold(&complete).unwrap();
        for (number, (choice, step, time)) in choices.into_iter().enumerate() {
            let record = record(&state, choice, step, time);
            let mut after = state.clone();
            if after.apply(complete.len(), &record).is_err() {
                continue;
            }
            state = after;
            complete.push(record.clone());
            short.push(record);
            if number % every == 0 {
                shorten(&mut short);
                prop_assert_eq!(&fold(&short).unwrap(), &state);
            }
        }
        prop_assert_eq!(&fold(&short).unwrap(), &state);
        let written: Vec<_> = short.iter().map(|record| record.encode().unwrap()).collect();
        let read: Vec<_> = written.iter().map(|record| Record::decode(record).unwrap()).collect();
        prop_assert_eq!(read, short);
    }
}
