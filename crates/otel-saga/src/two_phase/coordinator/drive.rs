//! Drives one transaction: carries out the core's commands, and journals their results where durability is required.
//!
//! Follows `docs/sagas.md`, "Durable decision" and "In-doubt resolution": no commit is sent before the journal has
//! the decision. A transaction that is not acknowledged returns to the journal and is claimed from there when it is
//! due, so that retry and recovery are one path.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use opentelemetry::Context;

use super::Inner;
use super::call::Call;
use super::transaction::{Outcome, agrees, end_span};
use crate::error::{BoxError, Text, with_causes};
use crate::flow::SagaOutcome;
use crate::journal::{AfterAppend, Cursor, millis, now};
use crate::retry::RetryPolicy;
use crate::two_phase::flow::{Command, Decision, Record, State, fold, next};
use crate::two_phase::participant::{Acknowledgement, Participant, Vote};
use crate::two_phase::telemetry::{TransactionSpan, alert};

pub(super) struct Drive {
    inner: Arc<Inner>,
    id: String,
    state: State,
    cursor: Cursor,
    /// The votes by participant; `None` if another coordinator asked for them.
    votes: Option<Vec<Option<Vote>>>,
    /// The participants by number: until the votes those with the work of the transaction, afterwards the registered
    /// ones.
    participants: Vec<Arc<dyn Participant>>,
    /// The reason of an abort.
    reason: Option<String>,
    /// Records that are not in the journal yet.
    unwritten: Vec<Record>,
    context: Context,
}

impl Drive {
    /// Drives a transaction that this coordinator began.
    pub(super) fn begun(
        inner: &Arc<Inner>,
        id: &str,
        started: &Record,
        cursor: Cursor,
        branches: Vec<Arc<dyn Participant>>,
        context: Context,
    ) -> Option<Self> {
        let state = fold([started]).ok()?;
        let votes = Some(vec![None; branches.len()]);
        Some(Self::new(inner, id, state, cursor, votes, branches, context))
    }

    /// Drives a claimed transaction, with the registered participants.
    pub(super) fn claimed(
        inner: &Arc<Inner>,
        id: &str,
        state: State,
        cursor: Cursor,
        context: Context,
    ) -> Result<Self, BoxError> {
        let participants = registered(inner, &state)?;
        Ok(Self::new(inner, id, state, cursor, None, participants, context))
    }

    fn new(
        inner: &Arc<Inner>,
        id: &str,
        state: State,
        cursor: Cursor,
        votes: Option<Vec<Option<Vote>>>,
        participants: Vec<Arc<dyn Participant>>,
        context: Context,
    ) -> Self {
        let (inner, id) = (Arc::clone(inner), id.to_owned());
        Self { inner, id, state, cursor, votes, participants, reason: None, unwritten: Vec::new(), context }
    }

    /// Drives the transaction until it ends or is handed over. An error means that this coordinator no longer owns
    /// it.
    ///
    /// The span ends before the journal records the end or the hand-over. A coordinator that resumes a transaction
    /// whose journal has neither therefore records the span again.
    pub(super) async fn run(mut self, span: &mut TransactionSpan) -> Result<State, BoxError> {
        loop {
            let commands = next(&self.state, self.votes.as_deref());
            match commands.first() {
                None => return Ok(self.state),
                Some(Command::Prepare { .. } | Command::CommitInOnePhase { .. }) => {
                    self.ask(&commands).await?;
                }
                Some(Command::Decide { recipients }) => {
                    let (decision, recipients) = (Decision::Commit, recipients.clone());
                    self.note(Record::Decided { decision, recipients, reason: None })?;
                    self.write(AfterAppend::Continue).await?;
                }
                Some(Command::Commit { .. } | Command::Rollback { .. }) => {
                    if let Err(error) = self.send_decision(&commands).await? {
                        self.hand_over(error, span).await?;
                        return Ok(self.state);
                    }
                }
                Some(Command::Finish(decision)) => {
                    let reason = self.reason.take().filter(|_| *decision == Decision::Abort);
                    self.note(Record::Ended { decision: *decision, reason })?;
                    self.end_span(span);
                    self.write(AfterAppend::Finished(match decision {
                        Decision::Commit => SagaOutcome::Completed,
                        Decision::Abort => SagaOutcome::Compensated,
                    }))
                    .await?;
                }
            }
        }
    }

    /// Asks all participants for their votes at the same time, and waits for all of them, because a participant that
    /// is not waited for could still prepare late.
    async fn ask(&mut self, commands: &[Command]) -> Result<(), BoxError> {
        let this = &*self;
        let asked = commands.iter().filter_map(|command| match command {
            Command::Prepare { participant } => Some((*participant, false)),
            Command::CommitInOnePhase { participant } => Some((*participant, true)),
            _ => None,
        });
        let votes = asked.filter_map(|(number, in_one_phase)| {
            let call = this.call(number)?;
            Some(async move { (number, this.inner.prepare(call, in_one_phase).await) })
        });
        for (number, vote) in join_all(votes).await {
            let vote = vote.unwrap_or_else(|error| Vote::Unknown(with_causes(&*error)));
            if let Some(reason) = vote.reason() {
                let reason = format!("{}: {reason}", self.state.name_of(number));
                self.reason.get_or_insert(reason);
            }
            let votes = self.votes.get_or_insert_default();
            if let Some(missing) = votes.get_mut(usize::from(number)) {
                *missing = Some(vote);
            }
        }
        // The votes are in, so that the participants with the work, and their connections, are no longer needed.
        self.participants = registered(&self.inner, &self.state)?;
        Ok(())
    }

    /// Sends the decision to all participants at the same time. The inner error is that of a participant that has not
    /// acknowledged.
    async fn send_decision(&mut self, commands: &[Command]) -> Result<Result<(), Unacknowledged>, BoxError> {
        let this = &*self;
        let called = commands.iter().filter_map(|command| match command {
            Command::Commit { participant } => Some((*participant, true)),
            Command::Rollback { participant } => Some((*participant, false)),
            _ => None,
        });
        let acknowledgements = called.filter_map(|(number, commits)| {
            let call = this.call(number)?;
            Some(async move { (number, this.inner.send_decision(call, commits).await) })
        });
        let mut result = Ok(());
        for (participant, acknowledgement) in join_all(acknowledgements).await {
            match acknowledgement {
                Ok(acknowledgement) => self.note(Record::Acknowledged { participant, acknowledgement })?,
                Err(error) => {
                    let participant = self.state.name_of(participant).to_owned();
                    result = Err(Unacknowledged { participant, error });
                }
            }
        }
        self.report_heuristics(commands);
        Ok(result)
    }

    /// Reports heuristic outcomes at once, because the journal may be unavailable.
    fn report_heuristics(&self, commands: &[Command]) {
        let decision = match commands.first() {
            Some(Command::Commit { .. }) => Decision::Commit,
            _ => Decision::Abort,
        };
        for (number, acknowledgement) in self.state.heuristics() {
            let command = match decision {
                Decision::Commit => Command::Commit { participant: number },
                Decision::Abort => Command::Rollback { participant: number },
            };
            if commands.contains(&command) {
                let participant = self.state.name_of(number);
                self.inner.heuristic(
                    &self.id,
                    &self.state.started.name,
                    participant,
                    decision,
                    acknowledgement,
                );
            }
        }
    }

    /// Returns the transaction to the journal, to be claimed when the next attempt is due.
    async fn hand_over(&mut self, why: Unacknowledged, span: &mut TransactionSpan) -> Result<(), BoxError> {
        let now = now();
        let error = format!("{}: {}", why.participant, with_causes(&*why.error));
        // A single participant decides by its answer, so that an abort is recorded only for several.
        if self.state.decision.is_none() && !self.state.is_single() {
            let called =
                next(&self.state, self.votes.as_deref()).into_iter().filter_map(|command| match command {
                    Command::Rollback { participant } => Some(participant),
                    _ => None,
                });
            let answered = (0_u16..)
                .zip(&self.state.acknowledgements)
                .filter(|(_, acknowledgement)| acknowledgement.is_some());
            let recipients = called.chain(answered.map(|(number, _)| number)).collect();
            let (decision, reason) = (Decision::Abort, self.reason.take());
            self.note(Record::Decided { decision, recipients, reason })?;
        }
        if self.state.waiting.is_none() {
            self.note(Record::Waiting { at: now, error: error.clone() })?;
        }
        let since = self.state.waiting.as_ref().map_or(now, |(at, _)| *at);
        let passed = Duration::from_millis(now.saturating_sub(since));
        let (attempt, delay) = back_off(&self.inner.options.retry, passed, &self.id);
        if attempt >= self.inner.options.retry.attempts() {
            alert(&self.id, &why.participant, "a participant does not acknowledge the decision", &*why.error);
        }
        self.end_span(span);
        self.write(AfterAppend::Runnable { at: now.saturating_add(millis(delay)) }).await?;
        self.inner.wake_claimer_in(delay);
        Ok(())
    }

    fn end_span(&self, span: &mut TransactionSpan) {
        let outcome = Outcome::of(&self.id, &self.state);
        end_span(span, outcome.as_ref().ok_or(("unknown", "the only participant has not answered")));
    }

    fn call(&self, number: u16) -> Option<Call<'_>> {
        let participant = self.participants.get(usize::from(number))?;
        Some(Call {
            participant: &**participant,
            id: &self.id,
            name: &self.state.started.name,
            parent: &self.context,
        })
    }

    fn note(&mut self, record: Record) -> Result<(), BoxError> {
        let index = usize::try_from(self.cursor.head)?.saturating_add(self.unwritten.len());
        self.state.apply(index, &record)?;
        self.unwritten.push(record);
        Ok(())
    }

    async fn write(&mut self, after_append: AfterAppend) -> Result<(), BoxError> {
        let records = std::mem::take(&mut self.unwritten);
        let appended = self.inner.append(&self.id, self.cursor, &records, after_append).await?;
        self.cursor = appended.ok_or("another coordinator has it")?;
        Ok(())
    }
}

/// A participant that has not acknowledged, and its error.
struct Unacknowledged {
    participant: String,
    error: BoxError,
}

/// Returns the registered participants, in the order of the transaction.
fn registered(inner: &Inner, state: &State) -> Result<Vec<Arc<dyn Participant>>, BoxError> {
    let of = |name: &String| {
        let missing = || BoxError::from(format!("the coordinator has no participant `{name}`"));
        inner.participants.get(name).cloned().ok_or_else(missing)
    };
    state.started.participants.iter().map(of).collect()
}

/// Returns the number of the attempt at this time since the first failure, and the wait until the next one.
fn back_off(policy: &RetryPolicy, passed: Duration, key: &str) -> (u32, Duration) {
    const LAST: u32 = 32;
    let mut waited = Duration::ZERO;
    for attempt in 1..LAST {
        let delay = policy.delay(attempt, key);
        waited = waited.saturating_add(delay);
        if waited > passed {
            return (attempt, delay);
        }
    }
    (LAST, policy.delay(LAST, key))
}

impl Inner {
    /// Counts a heuristic outcome, and raises an alert if it contradicts the decision.
    pub(super) fn heuristic(
        &self,
        id: &str,
        name: &str,
        participant: &str,
        decision: Decision,
        acknowledgement: Acknowledgement,
    ) {
        let Some(what) = acknowledgement.heuristic() else { return };
        self.telemetry.heuristic(name, participant, what);
        if !agrees(decision, acknowledgement) {
            let error =
                format!("the decision is to {}, the participant's branch is {what}", decision.as_str());
            alert(
                id,
                participant,
                "a participant decided otherwise: the transaction is not whole",
                &Text(&error),
            );
        }
    }

    /// Wakes the claiming loop after this delay.
    fn wake_claimer_in(self: &Arc<Self>, delay: Duration) {
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if let Some(inner) = inner.upgrade() {
                inner.wake_claimer.notify_one();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_with_the_time_that_has_passed() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let policy = RetryPolicy::exponential(first, longest).without_jitter();
        let at = |millis| {
            let (attempt, delay) = back_off(&policy, Duration::from_millis(millis), "t");
            (attempt, delay.as_millis())
        };
        assert_eq!(
            [at(0), at(99), at(100), at(300), at(700)],
            [(1, 100), (1, 100), (2, 200), (3, 400), (4, 800)]
        );
        assert_eq!(at(1_000_000), (32, 1000));
    }
}
