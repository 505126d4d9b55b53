//! Tests of `fold` and `next` by example: the commands for a given list of records.

use serde_json::{Value, json};

use crate::flow::{Command, FoldError, Phase, Record, SagaOutcome, Started, StepKind, StepSpec, fold, next};

const RESERVE: u16 = 0;
const PAY: u16 = 1;
const SHIP: u16 = 2;

fn order() -> Vec<Record> {
    let steps = vec![
        StepSpec::new("reserve", StepKind::Compensatable, 0),
        StepSpec::new("pay", StepKind::Pivot, 1),
        StepSpec::new("ship", StepKind::Forward, 2),
    ];
    vec![Record::Started(Started::new("order", 1, steps, Value::Null, 1))]
}

fn pair() -> Vec<Record> {
    let steps = vec![
        StepSpec::new("flight", StepKind::Compensatable, 0),
        StepSpec::new("hotel", StepKind::Compensatable, 0),
        StepSpec::new("pay", StepKind::Pivot, 1),
    ];
    vec![Record::Started(Started::new("trip", 1, steps, Value::Null, 1))]
}

fn intent(step: u16, phase: Phase, attempt: u32) -> Record {
    Record::Intent { step, phase, attempt, at: 1, span: None }
}

fn done(step: u16) -> [Record; 2] {
    [intent(step, Phase::Action, 1), Record::Done { step, output: json!(step) }]
}

fn refused(step: u16) -> [Record; 2] {
    [intent(step, Phase::Action, 1), Record::Refused { step, error: "no".to_owned() }]
}

fn failed(step: u16, phase: Phase, retry_at: u64, gave_up: bool) -> Record {
    Record::Failed { step, phase, error: "lost".to_owned(), retry_at, gave_up, wait: None }
}

fn asked(records: &[Record]) -> Vec<Command> {
    next(&fold(records).unwrap())
}

fn act(step: u16, attempt: u32) -> Command {
    Command::Attempt { step, phase: Phase::Action, attempt, not_before: 0 }
}

fn undo(step: u16, attempt: u32) -> Command {
    Command::Attempt { step, phase: Phase::Compensation, attempt, not_before: 0 }
}

#[test]
fn steps_follow_each_other_to_the_end() {
    let mut records = order();
    for step in [RESERVE, PAY, SHIP] {
        assert_eq!(asked(&records), [act(step, 1)]);
        records.extend(done(step));
    }
    assert_eq!(asked(&records), [Command::Finish(SagaOutcome::Completed)]);
    records.push(Record::Ended { outcome: SagaOutcome::Completed });
    assert_eq!(asked(&records), []);
}

#[test]
fn a_parallel_stage_is_waited_for() {
    let mut records = pair();
    assert_eq!(asked(&records), [act(0, 1), act(1, 1)]);
    records.extend(done(1));
    assert_eq!(asked(&records), [act(0, 1)]);
    records.extend(done(0));
    assert_eq!(asked(&records), [act(2, 1)]);
}

#[test]
fn a_refusal_undoes_what_stands_and_what_may_stand() {
    let mut records = pair();
    records.push(intent(0, Phase::Action, 1));
    records.extend(refused(1));
    assert_eq!(asked(&records), [undo(0, 1)]);
    records.extend([intent(0, Phase::Compensation, 1), Record::Undone { step: 0 }]);
    assert_eq!(asked(&records), [Command::Finish(SagaOutcome::Compensated)]);
}

#[test]
fn a_refusal_after_an_unknown_outcome_is_undone_too() {
    let mut records = order();
    records.extend([intent(RESERVE, Phase::Action, 1), intent(RESERVE, Phase::Action, 2)]);
    records.push(Record::Refused { step: RESERVE, error: "no".to_owned() });
    assert_eq!(asked(&records), [undo(RESERVE, 1)]);
}

#[test]
fn a_step_that_was_given_up_is_undone_and_a_compensation_never_is() {
    let mut records = order();
    records.extend([intent(RESERVE, Phase::Action, 1), failed(RESERVE, Phase::Action, 0, true)]);
    assert_eq!(asked(&records), [undo(RESERVE, 1)]);
    records.extend([intent(RESERVE, Phase::Compensation, 1), failed(RESERVE, Phase::Compensation, 9, true)]);
    let again = Command::Attempt { step: RESERVE, phase: Phase::Compensation, attempt: 2, not_before: 9 };
    assert_eq!(asked(&records), [again]);
}

#[test]
fn an_uncertain_pivot_is_asked_again_whatever_is_wished() {
    let mut records = order();
    records.extend(done(RESERVE));
    records.push(intent(PAY, Phase::Action, 1));
    records.push(Record::CancelRequested);
    assert_eq!(asked(&records), [act(PAY, 2)]);
    records.push(failed(PAY, Phase::Action, 0, true));
    assert_eq!(asked(&records), [act(PAY, 2)], "a pivot is not given up");
    records.push(intent(PAY, Phase::Action, 2));

    let mut refusal = records.clone();
    refusal.push(Record::Refused { step: PAY, error: "no money".to_owned() });
    assert_eq!(asked(&refusal), [undo(RESERVE, 1)]);
    records.push(Record::Done { step: PAY, output: Value::Null });
    assert_eq!(asked(&records), [act(SHIP, 1)], "the cancellation came too late");
}

#[test]
fn cancelling_before_the_pivot_undoes() {
    let mut records = order();
    records.push(Record::CancelRequested);
    assert_eq!(asked(&records), [Command::Finish(SagaOutcome::Compensated)], "nothing was begun");
    let mut records = order();
    records.extend(done(RESERVE));
    records.push(Record::CancelRequested);
    assert_eq!(asked(&records), [undo(RESERVE, 1)]);
}

#[test]
fn a_forward_step_that_is_refused_parks_and_goes_on_when_unparked() {
    let mut records = order();
    for step in [RESERVE, PAY] {
        records.extend(done(step));
    }
    records.extend(refused(SHIP));
    assert_eq!(asked(&records), [Command::Park { step: Some(SHIP) }]);
    records.push(Record::Parked { reason: "refused".to_owned() });
    assert_eq!(asked(&records), []);
    records.push(Record::Unparked);
    assert_eq!(asked(&records), [act(SHIP, 2)]);
}

#[test]
fn records_of_no_saga_are_an_error() {
    assert_eq!(fold(&[]), Err(FoldError::OutOfPlace { index: 0 }));
    assert_eq!(fold(&[Record::Unparked]), Err(FoldError::OutOfPlace { index: 0 }));
    let mut twice = order();
    twice.extend(order());
    assert_eq!(fold(&twice), Err(FoldError::OutOfPlace { index: 1 }));
    let mut beyond = order();
    beyond.push(Record::Undone { step: 3 });
    assert_eq!(fold(&beyond), Err(FoldError::NoSuchStep { index: 1, step: 3 }));
}
