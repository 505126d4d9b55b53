//! A small world for the model checker: one transaction, its journal, two coordinators, participants, and a network
//! that delays.
//!
//! The coordinators run the real `fold` and `next`. Faults have a budget, and each protection can be removed.

use std::collections::{BTreeMap, BTreeSet};

use otel_saga::two_phase::flow::{Command, Decision, Record, Started, State, fold, next};
use otel_saga::two_phase::{Acknowledgement, Vote};
use stateright::{Model, Property};

/// The protection that is removed, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// Commits are sent before the decision is in the journal.
    DurableDecision,
    /// A rollback without an acknowledgement counts as done.
    RollbacksRetried,
    /// Participants do not remember that they were asked to roll back a branch that they had not seen.
    Tombstones,
    /// Appends are accepted at any cursor.
    Fencing,
}

/// The number of faults of each kind, and in total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) faults: u8,
    pub(super) crashes: u8,
    pub(super) losses: u8,
    pub(super) refusals: u8,
    pub(super) takeovers: u8,
}

impl Budget {
    fn left(&self, kind: u8) -> bool {
        self.faults > 0 && kind > 0
    }

    fn spend(&mut self, kind: impl FnOnce(&mut Self) -> &mut u8) {
        *kind(self) -= 1;
        self.faults -= 1;
    }
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) participants: u16,
    pub(super) without: Without,
    pub(super) budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Verb {
    Prepare,
    CommitInOnePhase,
    Commit,
    Rollback,
}

/// A request in the network, and the worker and its epoch that wait for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Call {
    participant: u16,
    verb: Verb,
    answer_to: Option<(usize, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    Vote(Vote),
    Acknowledgement(Acknowledgement),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Is {
    /// The branch has work, and was not asked to prepare.
    #[default]
    Open,
    Prepared,
    Committed,
    RolledBack,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Worker {
    /// The journal as this worker knows it, including unwritten records; `None` while it owns no transaction.
    view: Option<Vec<Record>>,
    /// The number of these records that are in the journal.
    written: usize,
    epoch: u8,
    votes: Option<Vec<Option<Vote>>>,
    waiting: BTreeMap<(u16, Verb), Option<Reply>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Situation {
    journal: Vec<Record>,
    epoch: u8,
    workers: [Worker; 2],
    calls: BTreeSet<Call>,
    pub(super) participants: Vec<Is>,
    budget: Budget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Claim(usize),
    TakeOver(usize),
    Crash(usize),
    Do(usize, Command),
    Deliver(Call, bool),
    Receive(usize, (u16, Verb)),
    TimeOut(usize, (u16, Verb)),
}

impl Situation {
    pub(super) fn end(&self) -> Option<Decision> {
        // Without fencing the records may contradict each other: the first end counts.
        self.journal.iter().find_map(|record| match record {
            Record::Ended { decision, .. } => Some(*decision),
            _ => None,
        })
    }

    /// Appends the worker's unwritten records, or lets the worker find out that it is fenced.
    fn write(&mut self, worker: usize, fencing: bool) -> bool {
        let Worker { view: Some(view), epoch, written, .. } = &mut self.workers[worker] else { return false };
        if fencing && (*epoch != self.epoch || *written != self.journal.len()) {
            self.workers[worker] = Worker::default();
            return false;
        }
        self.journal.extend_from_slice(&view[*written..]);
        *written = view.len();
        true
    }

    fn claim(&mut self, worker: usize) {
        self.epoch += 1;
        self.workers[worker] = Worker {
            view: Some(self.journal.clone()),
            written: self.journal.len(),
            epoch: self.epoch,
            ..Worker::default()
        };
    }

    /// Merges calls that no worker waits for, and drops those without an effect.
    fn tidy(&mut self) {
        let workers = &self.workers;
        let waits = |call: &Call| {
            call.answer_to.filter(|(worker, epoch)| {
                let worker = &workers[*worker];
                worker.epoch == *epoch && worker.waiting.get(&(call.participant, call.verb)) == Some(&None)
            })
        };
        let calls = self.calls.iter().map(|call| Call { answer_to: waits(call), ..*call });
        let participants = &self.participants;
        let matters = |call: &Call| {
            let ended = matches!(participants[usize::from(call.participant)], Is::Committed | Is::RolledBack);
            call.answer_to.is_some() || !ended
        };
        self.calls = calls.filter(matters).collect();
    }
}

impl World {
    fn state(worker: &Worker) -> Option<State> {
        fold(worker.view.as_ref()?).ok()
    }

    fn carry_out(&self, now: &mut Situation, worker: usize, command: &Command) {
        let fencing = self.without != Without::Fencing;
        let one = &mut now.workers[worker];
        let Some(view) = one.view.as_mut() else { return };
        let (participant, verb) = match command {
            Command::Prepare { participant } => (*participant, Verb::Prepare),
            Command::CommitInOnePhase { participant } => (*participant, Verb::CommitInOnePhase),
            Command::Commit { participant } => (*participant, Verb::Commit),
            Command::Rollback { participant } => (*participant, Verb::Rollback),
            Command::Decide { recipients } => {
                let (decision, recipients) = (Decision::Commit, recipients.clone());
                view.push(Record::Decided { decision, recipients, reason: None });
                if self.without != Without::DurableDecision {
                    now.write(worker, fencing);
                }
                return;
            }
            Command::Finish(decision) => {
                view.push(Record::Ended { decision: *decision, reason: None });
                if now.write(worker, fencing) {
                    now.workers[worker] = Worker::default();
                }
                return;
            }
            other => panic!("{other:?} is not in these models"),
        };
        one.waiting.insert((participant, verb), None);
        let answer_to = Some((worker, one.epoch));
        now.calls.insert(Call { participant, verb, answer_to });
    }

    fn deliver(&self, now: &mut Situation, call: Call, accepts: bool) {
        now.calls.remove(&call);
        let is = &mut now.participants[usize::from(call.participant)];
        let reply = match (call.verb, *is) {
            (Verb::Prepare | Verb::CommitInOnePhase, Is::Open) if !accepts => {
                *is = Is::RolledBack;
                Reply::Vote(Vote::No(String::new()))
            }
            (Verb::Prepare, Is::Open) => {
                *is = Is::Prepared;
                Reply::Vote(Vote::Yes)
            }
            (Verb::CommitInOnePhase, Is::Open) => {
                *is = Is::Committed;
                Reply::Vote(Vote::Yes)
            }
            (Verb::Prepare | Verb::CommitInOnePhase, Is::RolledBack) => Reply::Vote(Vote::No(String::new())),
            (Verb::Prepare | Verb::CommitInOnePhase, _) => Reply::Vote(Vote::Yes),
            (Verb::Commit, Is::Prepared | Is::Committed) => {
                *is = Is::Committed;
                Reply::Acknowledgement(Acknowledgement::Done)
            }
            (Verb::Commit, _) => Reply::Acknowledgement(Acknowledgement::RolledBack),
            (_, Is::Committed) => Reply::Acknowledgement(Acknowledgement::Committed),
            (_, Is::Open) if self.without == Without::Tombstones => {
                Reply::Acknowledgement(Acknowledgement::Done)
            }
            (..) => {
                *is = Is::RolledBack;
                Reply::Acknowledgement(Acknowledgement::Done)
            }
        };
        if let Some((worker, _)) = call.answer_to
            && let Some(waiting) = now.workers[worker].waiting.get_mut(&(call.participant, call.verb))
        {
            *waiting = Some(reply);
        }
    }

    /// Ends the call at the worker, with this reply or with none.
    fn settle(
        &self,
        now: &mut Situation,
        worker: usize,
        (participant, verb): (u16, Verb),
        reply: Option<Reply>,
    ) {
        let worker = &mut now.workers[worker];
        worker.waiting.remove(&(participant, verb));
        let acknowledgement = match reply {
            Some(Reply::Acknowledgement(acknowledgement)) => acknowledgement,
            None if verb == Verb::Rollback && self.without == Without::RollbacksRetried => {
                Acknowledgement::Done
            }
            // The call is repeated.
            None if matches!(verb, Verb::Commit | Verb::Rollback) => return,
            vote => {
                let vote = match vote {
                    Some(Reply::Vote(vote)) => vote,
                    _ => Vote::Unknown(String::new()),
                };
                if let Some(votes) = &mut worker.votes {
                    votes[usize::from(participant)] = Some(vote);
                }
                return;
            }
        };
        if let Some(view) = &mut worker.view {
            view.push(Record::Acknowledged { participant, acknowledgement });
        }
    }
}

impl Model for World {
    type State = Situation;
    type Action = Action;

    fn init_states(&self) -> Vec<Situation> {
        let names = (0..self.participants).map(|number| format!("p{number}")).collect();
        let journal = vec![Record::Started(Started::new("model", names, 0))];
        let count = usize::from(self.participants);
        let first = Worker {
            view: Some(journal.clone()),
            written: 1,
            epoch: 1,
            votes: Some(vec![None; count]),
            ..Worker::default()
        };
        vec![Situation {
            journal,
            epoch: 1,
            workers: [first, Worker::default()],
            calls: BTreeSet::new(),
            participants: vec![Is::Open; count],
            budget: self.budget,
        }]
    }

    fn actions(&self, now: &Situation, actions: &mut Vec<Action>) {
        let ended = now.end().is_some();
        for call in &now.calls {
            actions.push(Action::Deliver(*call, true));
            let votes = matches!(call.verb, Verb::Prepare | Verb::CommitInOnePhase);
            let open = now.participants[usize::from(call.participant)] == Is::Open;
            if votes && open && now.budget.left(now.budget.refusals) {
                actions.push(Action::Deliver(*call, false));
            }
        }
        for (index, worker) in now.workers.iter().enumerate() {
            let Some(state) = Self::state(worker) else {
                if !ended {
                    // The workers are equal: if none is active, the first one claims.
                    let alive = now.workers.iter().any(|other| other.view.is_some());
                    actions.extend((!alive && index == 0).then_some(Action::Claim(index)));
                    let takes = alive && now.budget.left(now.budget.takeovers);
                    actions.extend(takes.then_some(Action::TakeOver(index)));
                }
                continue;
            };
            if now.budget.left(now.budget.crashes) {
                actions.push(Action::Crash(index));
            }
            for (call, reply) in &worker.waiting {
                if reply.is_some() {
                    actions.push(Action::Receive(index, *call));
                } else if now.budget.left(now.budget.losses) {
                    actions.push(Action::TimeOut(index, *call));
                }
            }
            // All calls of one round are waited for, as in the coordinator.
            let commands = next(&state, worker.votes.as_deref());
            let asked = |command: &Command| {
                let call = match command {
                    Command::Prepare { participant } => (*participant, Verb::Prepare),
                    Command::CommitInOnePhase { participant } => (*participant, Verb::CommitInOnePhase),
                    Command::Commit { participant } => (*participant, Verb::Commit),
                    Command::Rollback { participant } => (*participant, Verb::Rollback),
                    _ => return !worker.waiting.is_empty(),
                };
                worker.waiting.contains_key(&call)
            };
            let new = commands.into_iter().filter(|command| !asked(command));
            actions.extend(new.map(|command| Action::Do(index, command)));
        }
    }

    fn next_state(&self, before: &Situation, action: Action) -> Option<Situation> {
        let mut now = before.clone();
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
            Action::Do(worker, command) => self.carry_out(&mut now, worker, &command),
            Action::Deliver(call, accepts) => {
                if !accepts {
                    now.budget.spend(|left| &mut left.refusals);
                }
                self.deliver(&mut now, call, accepts);
            }
            Action::Receive(worker, call) => {
                let reply = now.workers[worker].waiting[&call].clone();
                self.settle(&mut now, worker, call, reply);
            }
            Action::TimeOut(worker, call) => {
                now.budget.spend(|left| &mut left.losses);
                self.settle(&mut now, worker, call, None);
            }
        }
        now.tidy();
        Some(now)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::invariants()
    }
}
