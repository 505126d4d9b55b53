//! Records that cannot follow each other, the outcomes that operators state, and journals of earlier versions.

use serde_json::json;

use crate::flow::{
    Command, FoldError, Impossible, Phase, Record, Resolution, SagaOutcome, Started, State, StepKind,
    StepSpec, fold, next,
};

const RESERVE: u16 = 0;
const PAY: u16 = 1;
const SHIP: u16 = 2;

fn started() -> Record {
    let steps = vec![
        StepSpec::new("reserve", StepKind::Compensatable, 0),
        StepSpec::new("pay", StepKind::Pivot, 1),
        StepSpec::new("ship", StepKind::Forward, 2),
    ];
    Record::Started(Started::new("order", 1, steps, json!(null), 0))
}

fn intent(step: u16, phase: Phase, attempt: u32) -> Record {
    Record::Intent { step, phase, attempt, at: 1, span: None }
}

fn act(step: u16) -> Record {
    intent(step, Phase::Action, 1)
}

fn undo(step: u16) -> Record {
    intent(step, Phase::Compensation, 1)
}

fn done(step: u16) -> Record {
    Record::Done { step, output: json!(step) }
}

fn refused(step: u16) -> Record {
    Record::Refused { step, error: "no".to_owned() }
}

fn failed(step: u16, phase: Phase) -> Record {
    Record::Failed { step, phase, error: "lost".to_owned(), retry_at: 9, gave_up: false, wait: None }
}

fn interrupted(step: u16, retry_at: u64) -> Record {
    Record::Interrupted { step, phase: Phase::Action, retry_at }
}

fn parked() -> Record {
    Record::Parked { reason: "a look".to_owned() }
}

fn resolved(step: u16, resolution: Resolution) -> Record {
    Record::Resolved { step, resolution, who: "ann".to_owned(), why: "asked".to_owned(), at: 1 }
}

fn folded(records: impl IntoIterator<Item = Record>) -> Result<State, FoldError> {
    let records: Vec<Record> = std::iter::once(started()).chain(records).collect();
    fold(&records)
}

#[track_caller]
fn refuses(reason: Impossible, records: impl IntoIterator<Item = Record>) {
    let records: Vec<Record> = records.into_iter().collect();
    let index = records.len();
    assert_eq!(folded(records).unwrap_err(), FoldError::Impossible { index, reason });
}

#[test]
fn impossible_records_are_refused() {
    let completed = Record::Ended { outcome: SagaOutcome::Completed };
    refuses(Impossible::NoAttempt, [done(RESERVE)]);
    refuses(Impossible::NoAttempt, [act(RESERVE), done(RESERVE), done(RESERVE)]);
    refuses(
        Impossible::NoAttempt,
        [act(RESERVE), done(RESERVE), act(PAY), done(PAY), Record::Undone { step: PAY }],
    );
    refuses(Impossible::NoAttempt, [Record::Undone { step: RESERVE }]);
    refuses(Impossible::StepsLeft, [completed.clone()]);
    refuses(Impossible::AttemptNumber, [intent(RESERVE, Phase::Action, 7)]);
    refuses(Impossible::AttemptNumber, [act(RESERVE), failed(RESERVE, Phase::Action), act(RESERVE)]);
    refuses(Impossible::NotItsTurn, [act(PAY)]);
    refuses(Impossible::NotItsTurn, [act(RESERVE), undo(RESERVE)]);
    refuses(Impossible::Decided, [act(RESERVE), done(RESERVE), act(RESERVE)]);
    refuses(Impossible::NoAttempt, [act(RESERVE), done(RESERVE), failed(RESERVE, Phase::Action)]);
    refuses(Impossible::NoAttempt, [interrupted(RESERVE, 0)]);
    // A pivot that was done is not undone, also if the saga could be.
    let decided = [act(RESERVE), done(RESERVE), act(PAY), done(PAY), Record::CancelRequested];
    refuses(Impossible::NotItsTurn, decided.iter().cloned().chain([undo(RESERVE)]));
    // The steps of a refused pivot are undone, and the pivot is not.
    let refusal = [act(RESERVE), done(RESERVE), act(PAY), refused(PAY)];
    refuses(Impossible::NotItsTurn, refusal.iter().cloned().chain([undo(PAY)]));
    refuses(
        Impossible::StepsLeft,
        refusal.iter().cloned().chain([Record::Ended { outcome: SagaOutcome::Compensated }]),
    );
    let undone = [undo(RESERVE), Record::Undone { step: RESERVE }];
    refuses(Impossible::StepsLeft, refusal.iter().chain(&undone).cloned().chain([completed]));
    let ended = [Record::Ended { outcome: SagaOutcome::Compensated }];
    for late in [intent(RESERVE, Phase::Compensation, 2), parked(), Record::Unparked, Record::CancelRequested]
    {
        refuses(Impossible::AfterEnd, refusal.iter().chain(&undone).chain(&ended).cloned().chain([late]));
    }
}

#[test]
fn steps_out_of_order_and_unknown_steps_are_refused() {
    let steps =
        vec![StepSpec::new("a", StepKind::Compensatable, 2), StepSpec::new("b", StepKind::Compensatable, 1)];
    let unordered = Record::Started(Started::new("order", 1, steps, json!(null), 0));
    assert_eq!(fold(&[unordered]), Err(FoldError::Steps));
    for record in [act(3), done(3), failed(3, Phase::Compensation), resolved(3, Resolution::Undone)] {
        let records = [parked(), record];
        let error =
            folded(records.iter().skip(usize::from(matches!(records[1], Record::Intent { .. }))).cloned());
        assert!(matches!(error, Err(FoldError::NoSuchStep { step: 3, .. })), "{error:?}");
    }
}

#[test]
fn nothing_starts_while_a_saga_is_parked_or_is_to_be() {
    refuses(Impossible::Parked, [parked(), act(RESERVE)]);
    let requested = Record::ParkRequested { reason: "a look".to_owned() };
    refuses(Impossible::Parked, [requested.clone(), act(RESERVE)]);
    let state = folded([act(RESERVE), requested.clone()]).unwrap();
    assert_eq!(next(&state), [Command::Park { step: None }]);
    // The outcome of the attempt that was running is journaled before the saga is parked.
    let state = folded([act(RESERVE), requested.clone(), done(RESERVE), parked()]).unwrap();
    assert_eq!((next(&state), state.park_requested), (vec![], None));
    let state = folded([act(RESERVE), requested, Record::Unparked, done(RESERVE)]).unwrap();
    assert!(matches!(next(&state)[..], [Command::Attempt { step: PAY, .. }]));
}

#[test]
fn interruptions_are_counted_apart_from_failures() {
    let records =
        [act(RESERVE), interrupted(RESERVE, 5), intent(RESERVE, Phase::Action, 2), interrupted(RESERVE, 7)];
    let phase_state = folded(records.clone()).unwrap().steps[0].action.clone();
    assert_eq!((phase_state.attempts, phase_state.failures, phase_state.interruptions), (2, 0, 2));
    assert_eq!((phase_state.retry_at, phase_state.uncertain, phase_state.open), (7, true, false));
    let answer = [intent(RESERVE, Phase::Action, 3), failed(RESERVE, Phase::Action)];
    let phase_state = folded(records.iter().chain(&answer).cloned()).unwrap().steps[0].action.clone();
    assert_eq!((phase_state.attempts, phase_state.failures, phase_state.interruptions), (3, 1, 0));
    // An operator who unparks the saga lets it begin again.
    let phase_state =
        folded(records.into_iter().chain([parked(), Record::Unparked])).unwrap().steps[0].action.clone();
    assert_eq!((phase_state.interruptions, phase_state.retry_at), (0, 0));
}

#[test]
fn a_retry_during_an_attempt_applies_to_the_next_one() {
    let during = [act(RESERVE), Record::Unparked, failed(RESERVE, Phase::Action)];
    let state = folded(during).unwrap();
    let again = Command::Attempt { step: RESERVE, phase: Phase::Action, attempt: 2, not_before: 0 };
    assert_eq!(next(&state), [again]);
    // It applies once.
    let twice = [intent(RESERVE, Phase::Action, 2), failed(RESERVE, Phase::Action)];
    let during = [act(RESERVE), Record::Unparked, failed(RESERVE, Phase::Action)];
    let state = folded(during.into_iter().chain(twice)).unwrap();
    assert!(matches!(next(&state)[..], [Command::Attempt { not_before: 9, .. }]));
}

#[test]
fn an_operator_can_state_each_outcome() {
    let pivot = [act(RESERVE), done(RESERVE), act(PAY), failed(PAY, Phase::Action), parked()];
    let resolve =
        |resolution| folded(pivot.iter().cloned().chain([resolved(PAY, resolution), Record::Unparked]));
    let state = resolve(Resolution::Done(json!("paid"))).unwrap();
    assert_eq!(state.steps[1].action.output(), Some(&json!("paid")));
    assert!(matches!(next(&state)[..], [Command::Attempt { step: SHIP, phase: Phase::Action, .. }]));
    let state = resolve(Resolution::Refused).unwrap();
    assert!(matches!(next(&state)[..], [Command::Attempt { step: RESERVE, phase: Phase::Compensation, .. }]));
    refuses(Impossible::Resolution, pivot.iter().cloned().chain([resolved(PAY, Resolution::Undone)]));
    refuses(Impossible::NotParked, pivot[..4].iter().cloned().chain([resolved(PAY, Resolution::Refused)]));
    refuses(
        Impossible::Resolution,
        pivot.iter().cloned().chain([resolved(SHIP, Resolution::Done(json!(1)))]),
    );

    // A compensation that never succeeds.
    let undoing = [act(RESERVE), done(RESERVE), act(PAY), refused(PAY), undo(RESERVE), parked()];
    let undone = [resolved(RESERVE, Resolution::Undone), Record::Unparked];
    let state = folded(undoing.iter().chain(&undone).cloned()).unwrap();
    assert_eq!(next(&state), [Command::Finish(SagaOutcome::Compensated)]);
    refuses(
        Impossible::Resolution,
        undoing.iter().cloned().chain([resolved(PAY, Resolution::Done(json!(1)))]),
    );

    // A forward step that was refused; and an output that is replaced, because no later step can read it.
    let forward = [act(RESERVE), done(RESERVE), act(PAY), done(PAY), act(SHIP), refused(SHIP), parked()];
    let shipped = [resolved(SHIP, Resolution::Done(json!("by hand"))), Record::Unparked];
    let state = folded(forward.iter().chain(&shipped).cloned()).unwrap();
    assert_eq!(next(&state), [Command::Finish(SagaOutcome::Completed)]);
    let state = folded(forward.iter().cloned().chain([resolved(PAY, Resolution::Done(json!(8)))])).unwrap();
    assert_eq!(state.steps[1].action.output(), Some(&json!(8)));
    refuses(Impossible::Resolution, forward.iter().cloned().chain([resolved(SHIP, Resolution::Refused)]));
}

/// The journals that the version before `Interrupted`, `ParkRequested` and `Resolved` wrote.
#[test]
fn journals_of_the_first_form_stay_readable() {
    let journals = include_str!("tests/form-1.txt");
    let mut sagas = 0;
    for journal in journals.split("\n\n") {
        let (head, lines) = journal.split_once('\n').unwrap();
        let records: Vec<Record> =
            lines.lines().map(|line| Record::decode(line.as_bytes()).unwrap()).collect();
        let state = fold(&records).unwrap_or_else(|error| panic!("{head}: {error}"));
        let commands = next(&state);
        assert_eq!(format!("# {commands:?}"), head);
        // It is written as it was read.
        let again: Vec<_> =
            records.iter().map(|record| String::from_utf8(record.encode().unwrap()).unwrap()).collect();
        assert_eq!(again, lines.lines().collect::<Vec<_>>(), "{head}");
        sagas += 1;
    }
    assert_eq!(sagas, 4);
}
