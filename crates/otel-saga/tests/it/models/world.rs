//! A small world for the model checker: one saga, its journal, two workers, participants, and a network that delays.
//!
//! The workers run the real `fold` and `next`. Faults have a budget, and each protection can be removed.

use std::collections::{BTreeMap, BTreeSet};

use otel_saga::flow::{Command, End, Phase, Record, StepKind, fold, next};
use serde_json::Value;
use stateright::{Model, Property};

use super::participant::Participant;

/// The protection that is removed, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// The journal receives the intent of an attempt only with its outcome.
    Intent,
    /// Only steps that are known to be done are undone.
    UncertainUndone,
    /// Each attempt has another key.
    IdempotencyKeys,
    /// Participants do not remember that they were asked to undo an action that they had not seen.
    Tombstones,
    /// Appends are accepted at any cursor.
    Fencing,
}

/// The number of faults of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// The number of faults in total.
    pub(super) faults: u8,
    pub(super) crashes: u8,
    pub(super) losses: u8,
    pub(super) refusals: u8,
    pub(super) takeovers: u8,
    pub(super) cancels: u8,
    pub(super) give_ups: u8,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) started: Record,
    pub(super) kinds: Vec<StepKind>,
    pub(super) without: Without,
    pub(super) budget: Budget,
}

type Try = (u16, Phase);

/// A request in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Call {
    step: u16,
    phase: Phase,
    key: u32,
    /// The worker, its epoch and the attempt that wait for the answer, if they still do.
    answer_to: Option<(usize, u8, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    attempt: u32,
    /// The answer, once it has arrived: accepted or not.
    answer: Option<bool>,
    /// The intent, if it was not journaled before the attempt.
    unwritten: Option<Record>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Worker {
    /// The journal as this worker knows it; `None` while it owns no instance.
    view: Option<Vec<Record>>,
    epoch: u8,
    waiting: BTreeMap<Try, Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Situation {
    pub(super) journal: Vec<Record>,
    epoch: u8,
    workers: [Worker; 2],
    calls: BTreeSet<Call>,
    pub(super) participants: Vec<Participant>,
    budget: Budget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Claim(usize),
    TakeOver(usize),
    Crash(usize),
    Begin(usize, Command),
    Deliver(Call, bool),
    Receive(usize, Try),
    TimeOut(usize, Try),
    GiveUp(usize, Try),
    Cancel,
}

impl Situation {
    /// Appends the worker's records, or lets the worker find out that it is fenced.
    fn append(&mut self, worker: usize, records: &[Record], fencing: bool) -> bool {
        let Worker { view: Some(view), epoch, .. } = &mut self.workers[worker] else { return false };
        if fencing && (*epoch != self.epoch || view.len() != self.journal.len()) {
            if *epoch == self.epoch {
                // Only the head has moved, because a request was appended: the worker reads it and continues.
                view.clone_from(&self.journal);
            } else {
                self.workers[worker] = Worker::default();
            }
            return false;
        }
        view.extend_from_slice(records);
        self.journal.extend_from_slice(records);
        true
    }

    fn claim(&mut self, worker: usize) {
        self.epoch += 1;
        self.workers[worker] =
            Worker { view: Some(self.journal.clone()), epoch: self.epoch, waiting: BTreeMap::new() };
    }

    /// Merges late calls that differ only in their receiver, and drops those without an effect.
    fn tidy(&mut self) {
        let workers = &self.workers;
        let waits = |call: &Call| {
            call.answer_to.filter(|(worker, epoch, attempt)| {
                let worker = &workers[*worker];
                let waiting = worker.waiting.get(&(call.step, call.phase));
                worker.epoch == *epoch && waiting.is_some_and(|waiting| waiting.attempt == *attempt)
            })
        };
        let calls = self.calls.iter().map(|call| Call { answer_to: waits(call), ..*call });
        let participants = &self.participants;
        let matters = |call: &Call| {
            let participant = &participants[usize::from(call.step)];
            call.answer_to.is_some() || participant.would_notice(call.phase, call.key)
        };
        self.calls = calls.filter(matters).collect();
        // Records of different steps and phases commute under `fold`, so that one order represents all.
        let views = self.workers.iter_mut().filter_map(|worker| worker.view.as_mut());
        for records in views.chain([&mut self.journal]) {
            records.sort_by_key(place);
        }
    }

    pub(super) fn end(&self) -> Option<End> {
        fold(&self.journal).unwrap().ended
    }
}

/// The position of a record in the representative order.
fn place(record: &Record) -> (u16, u16, Option<Phase>) {
    match record {
        Record::Started(_) => (0, 0, None),
        Record::Intent { step, phase, .. } | Record::Failed { step, phase, .. } => (1, *step, Some(*phase)),
        Record::Done { step, .. } | Record::Refused { step, .. } => (1, *step, Some(Phase::Action)),
        Record::Undone { step } => (1, *step, Some(Phase::Compensation)),
        _ => (2, 0, None),
    }
}

impl Budget {
    /// Returns true if a fault of this kind is left.
    fn left(&self, kind: u8) -> bool {
        self.faults > 0 && kind > 0
    }

    fn spend(&mut self, kind: impl FnOnce(&mut Self) -> &mut u8) {
        *kind(self) -= 1;
        self.faults -= 1;
    }
}

impl World {
    fn key(&self, attempt: u32) -> u32 {
        if self.without == Without::IdempotencyKeys { attempt } else { 0 }
    }

    fn begin(&self, now: &mut Situation, worker: usize, command: &Command) {
        let fencing = self.without != Without::Fencing;
        let (step, phase, attempt) = match command {
            Command::Finish(end) => {
                if now.append(worker, &[Record::Ended { end: *end }], fencing) {
                    now.workers[worker] = Worker::default();
                }
                return;
            }
            Command::Attempt { step, phase, attempt, .. } => (*step, *phase, *attempt),
            other => panic!("{other:?} is not in these models"),
        };
        let intent = Record::Intent { step, phase, attempt, at: 0, span: None };
        if self.without == Without::UncertainUndone && phase == Phase::Compensation {
            let state = fold(now.workers[worker].view.as_ref().unwrap()).unwrap();
            if state.steps[usize::from(step)].action.output().is_none() {
                now.append(worker, &[intent, Record::Undone { step }], fencing);
                return;
            }
        }
        let unwritten = (self.without == Without::Intent).then(|| intent.clone());
        if unwritten.is_none() && !now.append(worker, &[intent], fencing) {
            return;
        }
        now.workers[worker].waiting.insert((step, phase), Waiting { attempt, answer: None, unwritten });
        let epoch = now.workers[worker].epoch;
        let answer_to = Some((worker, epoch, attempt));
        now.calls.insert(Call { step, phase, key: self.key(attempt), answer_to });
    }

    fn deliver(&self, now: &mut Situation, call: Call, accepts: bool) {
        now.calls.remove(&call);
        let participant = &mut now.participants[usize::from(call.step)];
        let answer = match call.phase {
            Phase::Action => participant.act(call.key, accepts),
            _ => {
                participant.undo(call.key, self.without != Without::Tombstones);
                true
            }
        };
        if let Some((worker, ..)) = call.answer_to
            && let Some(waiting) = now.workers[worker].waiting.get_mut(&(call.step, call.phase))
        {
            waiting.answer = Some(answer);
        }
    }

    /// Ends the attempt at the worker, with this record.
    fn settle(&self, now: &mut Situation, worker: usize, tried: Try, record: Record) {
        let Some(waiting) = now.workers[worker].waiting.get(&tried) else { return };
        let records: Vec<Record> = waiting.unwritten.iter().cloned().chain([record]).collect();
        if now.append(worker, &records, self.without != Without::Fencing) {
            now.workers[worker].waiting.remove(&tried);
        }
    }
}

impl Model for World {
    type State = Situation;
    type Action = Action;

    fn init_states(&self) -> Vec<Situation> {
        let begun = Situation {
            journal: vec![self.started.clone()],
            epoch: 0,
            workers: Default::default(),
            calls: BTreeSet::new(),
            participants: vec![Participant::default(); self.kinds.len()],
            budget: self.budget,
        };
        if self.without == Without::Intent {
            return vec![begun];
        }
        // The first intents can be appended with the start, and their writer can die at once. The case in which it
        // lives follows from the other initial state.
        let mut intended = begun.clone();
        for command in next(&fold(&begun.journal).unwrap()) {
            let Command::Attempt { step, phase, attempt, .. } = command else { continue };
            intended.journal.push(Record::Intent { step, phase, attempt, at: 0, span: None });
        }
        vec![begun, intended]
    }

    fn actions(&self, now: &Situation, actions: &mut Vec<Action>) {
        let ended = now.end().is_some();
        for call in &now.calls {
            actions.push(Action::Deliver(*call, true));
            let can_refuse =
                self.kinds[usize::from(call.step)] != StepKind::Forward && call.phase == Phase::Action;
            let new = !now.participants[usize::from(call.step)].answers.contains_key(&call.key);
            if can_refuse && new && now.budget.left(now.budget.refusals) {
                actions.push(Action::Deliver(*call, false));
            }
        }
        for (index, worker) in now.workers.iter().enumerate() {
            let Some(view) = &worker.view else {
                if !ended {
                    // The workers are equal: if none is active, the first one claims.
                    let alive = now.workers.iter().any(|other| other.view.is_some());
                    actions.extend((!alive && index == 0).then_some(Action::Claim(index)));
                    actions.extend(
                        (alive && now.budget.left(now.budget.takeovers)).then_some(Action::TakeOver(index)),
                    );
                }
                continue;
            };
            if now.budget.left(now.budget.crashes) {
                actions.push(Action::Crash(index));
            }
            for (tried, waiting) in &worker.waiting {
                if waiting.answer.is_some() {
                    actions.push(Action::Receive(index, *tried));
                    continue;
                }
                if now.budget.left(now.budget.losses) {
                    actions.push(Action::TimeOut(index, *tried));
                }
                let compensatable = self.kinds[usize::from(tried.0)] == StepKind::Compensatable;
                if now.budget.left(now.budget.give_ups) && compensatable && tried.1 == Phase::Action {
                    actions.push(Action::GiveUp(index, *tried));
                }
            }
            for command in next(&fold(view).unwrap()) {
                match &command {
                    Command::Attempt { step, phase, .. } if worker.waiting.contains_key(&(*step, *phase)) => {
                    }
                    _ => actions.push(Action::Begin(index, command)),
                }
            }
        }
        if now.budget.left(now.budget.cancels) && !ended {
            actions.push(Action::Cancel);
        }
    }

    fn next_state(&self, before: &Situation, action: Action) -> Option<Situation> {
        let mut now = before.clone();
        let failed = |(step, phase): Try, gave_up| Record::Failed {
            step,
            phase,
            error: String::new(),
            retry_at: 0,
            gave_up,
        };
        match action {
            Action::Claim(worker) => now.claim(worker),
            Action::TakeOver(worker) => {
                now.budget.spend(|left| &mut left.takeovers);
                now.claim(worker);
            }
            Action::Crash(worker) => {
                now.budget.spend(|left| &mut left.crashes);
                now.workers[worker] = Worker::default();
            }
            Action::Begin(worker, command) => self.begin(&mut now, worker, &command),
            Action::Deliver(call, accepts) => {
                if !accepts {
                    now.budget.spend(|left| &mut left.refusals);
                }
                self.deliver(&mut now, call, accepts);
            }
            Action::Receive(worker, tried) => {
                let accepted = now.workers[worker].waiting[&tried].answer == Some(true);
                let (step, phase) = tried;
                let record = match (phase, accepted) {
                    (Phase::Action, true) => Record::Done { step, output: Value::Null },
                    (Phase::Action, false) => Record::Refused { step, error: String::new() },
                    _ => Record::Undone { step },
                };
                self.settle(&mut now, worker, tried, record);
            }
            Action::TimeOut(worker, tried) => {
                now.budget.spend(|left| &mut left.losses);
                self.settle(&mut now, worker, tried, failed(tried, false));
            }
            Action::GiveUp(worker, tried) => {
                now.budget.spend(|left| &mut left.give_ups);
                self.settle(&mut now, worker, tried, failed(tried, true));
            }
            Action::Cancel => {
                now.budget.spend(|left| &mut left.cancels);
                now.journal.push(Record::CancelRequested);
            }
        }
        now.tidy();
        Some(now)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::invariants()
    }
}
