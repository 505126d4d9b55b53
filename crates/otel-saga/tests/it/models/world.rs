//! A small world for the model checker: one saga, its journal, two workers, an operator, participants, and a network
//! that delays.
//!
//! The workers run the real `next`, and records are applied to the real state. Faults have a budget, and each protection
//! can be removed.

use std::collections::{BTreeMap, BTreeSet};

use otel_saga::flow::{Command, Phase, Record, SagaOutcome, State, StepKind, next};
use serde_json::Value;
use stateright::{Model, Property};

use super::compaction::{self, Pending};
use super::faults::{Budget, Without};
use super::operator::{self, Request};
use super::participant::Participant;

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) begun: State,
    pub(super) kinds: Vec<StepKind>,
    pub(super) without: Without,
    pub(super) budget: Budget,
}

pub(super) type Try = (u16, Phase);

/// A request in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Call {
    step: u16,
    phase: Phase,
    key: u32,
    /// The worker, its epoch and the attempt that wait for the answer, if they still do.
    pub(super) answer_to: Option<(usize, u8, u32)>,
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
pub(super) struct Worker {
    /// The journal as this worker knows it; `None` while it owns no instance.
    pub(super) view: Option<State>,
    /// True if a request was appended that this worker has not read.
    behind: bool,
    pub(super) epoch: u8,
    /// A compaction of the journal; the worker does nothing else meanwhile.
    pub(super) pending: Option<Pending>,
    waiting: BTreeMap<Try, Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Situation {
    /// The records, as their state; `None` if they cannot follow each other.
    pub(super) journal: Option<State>,
    /// The records themselves, in models with compactions.
    pub(super) records: Option<Vec<Record>>,
    pub(super) epoch: u8,
    /// True if no worker owns the instance.
    pub(super) released: bool,
    pub(super) workers: [Worker; 2],
    pub(super) calls: BTreeSet<Call>,
    pub(super) participants: Vec<Participant>,
    pub(super) budget: Budget,
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
    Request(Request),
    Compact(usize),
    Replace(usize),
}

impl Situation {
    /// Appends to the journal without a check of the cursor.
    fn write(&mut self, records: &[Record]) {
        for record in records {
            if self.journal.as_mut().is_none_or(|state| state.apply(0, record).is_err()) {
                self.journal = None;
            }
        }
        if let Some(all) = &mut self.records {
            all.extend_from_slice(records);
        }
    }

    /// Appends an operator's request.
    pub(super) fn request(&mut self, record: &Record) {
        self.write(std::slice::from_ref(record));
        self.workers.iter_mut().for_each(|worker| worker.behind |= worker.view.is_some());
    }

    /// Appends the worker's records, or lets the worker find out that it is fenced.
    fn append(&mut self, worker: usize, records: &[Record], fencing: bool) -> bool {
        let Worker { view: Some(view), behind, epoch, .. } = &mut self.workers[worker] else { return false };
        if fencing && (*epoch != self.epoch || *behind) {
            if *epoch == self.epoch {
                // Only the head has moved, because a request was appended: the worker reads it and continues.
                self.workers[worker].view.clone_from(&self.journal);
                self.workers[worker].behind = false;
            } else {
                self.workers[worker] = Worker::default();
            }
            return false;
        }
        if records.iter().any(|record| view.apply(0, record).is_err()) {
            // The worker stops.
            self.workers[worker] = Worker::default();
        }
        self.write(records);
        true
    }

    /// Claims the instance, and journals the interruption of the attempts that are open.
    fn claim(&mut self, worker: usize, without: Without) {
        self.epoch += 1;
        self.released = false;
        self.write(&operator::interruptions(self.journal.as_ref(), without));
        let (view, epoch) = (self.journal.clone(), self.epoch);
        self.workers[worker] = Worker { view, epoch, ..Worker::default() };
    }

    /// Returns the number of workers that run an attempt of this step.
    pub(super) fn at_once(&self, step: u16) -> usize {
        let of = |worker: &Worker| worker.waiting.keys().filter(|(other, _)| *other == step).count();
        self.workers.iter().map(of).sum()
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
    }

    pub(super) fn end(&self) -> Option<SagaOutcome> {
        self.journal.as_ref().and_then(|state| state.ended)
    }

    fn parked(&self) -> bool {
        self.journal.as_ref().is_some_and(|state| state.parked.is_some())
    }
}

impl World {
    fn key(&self, attempt: u32) -> u32 {
        if self.without == Without::IdempotencyKeys { attempt } else { 0 }
    }

    fn begin(&self, now: &mut Situation, worker: usize, command: &Command) {
        let fencing = self.without != Without::Fencing;
        let (step, phase, attempt) = match command {
            Command::Finish(outcome) => {
                if now.append(worker, &[Record::Ended { outcome: *outcome }], fencing) {
                    now.workers[worker] = Worker::default();
                }
                return;
            }
            Command::Park { .. } => {
                let parked = Record::Parked { reason: String::new() };
                if now.append(worker, &[parked], fencing) {
                    now.workers[worker] = Worker::default();
                    now.released = true;
                }
                return;
            }
            Command::Attempt { step, phase, attempt, .. } => (*step, *phase, *attempt),
            other => panic!("{other:?} is not in these models"),
        };
        let intent = Record::Intent { step, phase, attempt, at: 0, span: None };
        if self.without == Without::UncertainUndone && phase == Phase::Compensation {
            let state = now.workers[worker].view.as_ref().unwrap();
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
            journal: Some(self.begun.clone()),
            records: (self.budget.compactions > 0).then(|| vec![Record::Started(self.begun.started.clone())]),
            epoch: 0,
            released: true,
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
        for command in next(&self.begun) {
            let Command::Attempt { step, phase, attempt, .. } = command else { continue };
            intended.write(&[Record::Intent { step, phase, attempt, at: 0, span: None }]);
        }
        intended.released = false;
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
                if !ended && !now.parked() {
                    let alive = now.workers.iter().any(|other| other.view.is_some());
                    // The workers are equal: if none is active, the first one claims.
                    let claims = if alive { now.released } else { index == 0 };
                    actions.extend(claims.then_some(Action::Claim(index)));
                    let takes_over = alive && !now.released && now.budget.left(now.budget.takeovers);
                    actions.extend(takes_over.then_some(Action::TakeOver(index)));
                }
                continue;
            };
            if now.budget.left(now.budget.crashes) {
                actions.push(Action::Crash(index));
            }
            if worker.pending.is_some() {
                actions.push(Action::Replace(index));
                continue;
            }
            if compaction::possible(now, index).is_some() {
                actions.push(Action::Compact(index));
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
            for command in next(view) {
                let waits = match &command {
                    // A step is not undone while its action runs on this worker.
                    Command::Attempt { step, phase, .. } => {
                        let runs = |phase| worker.waiting.contains_key(&(*step, phase));
                        runs(*phase) || runs(Phase::Action)
                    }
                    _ => !worker.waiting.is_empty(),
                };
                if !waits {
                    actions.push(Action::Begin(index, command));
                }
            }
        }
        if !ended {
            actions.extend(operator::requests(self, now).into_iter().map(Action::Request));
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
            wait: None,
        };
        match action {
            Action::Claim(worker) => now.claim(worker, self.without),
            Action::TakeOver(worker) => {
                now.budget.spend(|left| &mut left.takeovers);
                now.claim(worker, self.without);
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
            Action::Request(request) => operator::carry_out(self, &mut now, &request),
            Action::Compact(worker) => compaction::begin(&mut now, worker),
            Action::Replace(worker) => compaction::carry_out(self, &mut now, worker),
        }
        now.tidy();
        Some(now)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::invariants()
    }
}
