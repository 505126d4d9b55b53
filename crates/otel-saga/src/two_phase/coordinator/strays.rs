//! Stray branches: prepared branches that no coordinator will end, because their transaction has ended without them
//! or is unknown to the journal.
//!
//! Follows `docs/sagas.md`, "In-doubt resolution": this is the second guard against a prepare that comes late; the
//! first is that participants remember the branches that they have rolled back ("Late prepares"). It is the only guard
//! against the loss of the journal.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use tokio::time::timeout;

use super::Inner;
use super::append::read;
use super::call::Call;
use super::recover::context;
use crate::error::{BoxError, Text};
use crate::two_phase::flow::Decision;
use crate::two_phase::participant::{Branch, Participant};
use crate::two_phase::telemetry::alert;

/// A branch that is not to stay prepared.
enum Stray {
    /// Its transaction has ended.
    Ended(EndedTransaction),
    /// The journal does not know its transaction.
    Unknown,
}

/// The decision for a stray branch, with the data of its call.
struct EndedTransaction {
    name: String,
    decision: Decision,
    parent: Context,
}

fn not_ended(participant: &Arc<dyn Participant>, branch: &Branch, error: &dyn Error) {
    alert(branch.transaction(), participant.name(), "a stray branch was not ended", error);
}

impl Inner {
    /// Asks each participant for the branches that are prepared under this coordinator's name, and ends the stray
    /// ones.
    pub(super) async fn find_strays(&self) {
        let is_same_journal = self.is_same_journal().await;
        for participant in self.participants.values() {
            let mut strays = Vec::new();
            for branch in self.prepared_at(participant).await {
                match self.stray(&branch).await {
                    Ok(Some(stray)) => strays.push((branch, stray)),
                    Ok(None) => {}
                    Err(error) => not_ended(participant, &branch, &*error),
                }
            }
            if strays.is_empty() {
                continue;
            }
            // Asked again, because a branch that another task was ending at the first time is not stray.
            let still = self.prepared_at(participant).await;
            for (branch, stray) in strays.into_iter().filter(|(branch, _)| still.contains(branch)) {
                let ended = match stray {
                    Stray::Ended(transaction) => self.end_stray(participant, &branch, transaction).await,
                    Stray::Unknown => self.end_unknown(participant, &branch, is_same_journal).await,
                };
                if let Err(error) = ended {
                    not_ended(participant, &branch, &*error);
                }
            }
        }
    }

    /// Returns true if no participant remembers another journal under this coordinator's name. False as well while one
    /// of them does not answer.
    async fn is_same_journal(&self) -> bool {
        if self.is_same_journal.load(Ordering::Relaxed) {
            return true;
        }
        let identity = match self.journal.identity().await {
            Ok(Some(identity)) => identity,
            Ok(None) => return true,
            Err(error) => {
                alert("", "", "the journal's identity is unknown", &error);
                return false;
            }
        };
        let mut is_same = true;
        for participant in self.participants.values() {
            let remember = participant.remember_journal(&self.name, &identity, self.options.new_journal);
            let event = "the participant's memory of the coordinator's journal is unknown";
            match timeout(self.options.timeout, remember).await {
                Ok(Ok(remembered)) => {
                    let other = remembered.filter(|remembered| *remembered != identity);
                    is_same &= other.is_none();
                    if let Some(other) = other
                        && self.is_first_report(participant.name())
                    {
                        let text = format!(
                            "it remembers {other}, this one is {identity}: branches that this journal does not know \
                             stay prepared; find the old journal, or end them by hand and start once with a new journal"
                        );
                        alert(
                            "",
                            participant.name(),
                            "the coordinator's journal was lost or swapped",
                            &Text(&text),
                        );
                    }
                }
                Ok(Err(error)) => {
                    is_same = false;
                    alert("", participant.name(), event, &*error);
                }
                Err(error) => {
                    is_same = false;
                    alert("", participant.name(), event, &error);
                }
            }
        }
        self.is_same_journal.store(is_same, Ordering::Relaxed);
        is_same
    }

    /// Returns true at the first call for this text.
    fn is_first_report(&self, text: &str) -> bool {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
    }

    /// Returns the branches that are prepared under this coordinator's name; none if the participant does not report
    /// them.
    async fn prepared_at(&self, participant: &Arc<dyn Participant>) -> Vec<Branch> {
        let prefix = Branch::prefix(&self.name, participant.name());
        let error: BoxError = match timeout(self.options.timeout, participant.in_doubt(&prefix)).await {
            Ok(Ok(mut found)) => {
                found.retain(|branch| branch.as_str().starts_with(&prefix));
                return found;
            }
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        };
        alert("", participant.name(), "a participant did not list its prepared branches", &*error);
        Vec::new()
    }

    /// Returns the reason for which a branch is stray, or `None` if it is not. The journal is read after the branch was
    /// found, because a transaction is in the journal before its branches are prepared.
    async fn stray(&self, branch: &Branch) -> Result<Option<Stray>, BoxError> {
        let Some(loaded) = self.journal.load(branch.transaction()).await? else {
            return Ok(Some(Stray::Unknown));
        };
        let state = read(&loaded)?;
        // While the transaction has not ended, its coordinator will end the branch.
        Ok(state.ended.then(|| {
            Stray::Ended(EndedTransaction {
                decision: state.decision.unwrap_or(Decision::Abort),
                parent: context(&state),
                name: state.started.name,
            })
        }))
    }

    /// Ends a branch whose transaction the journal does not know, always with an alert. It is committed if another
    /// participant has committed its branch, because no commit is sent before the decision to commit. Otherwise it is
    /// rolled back, if the journal is the one that has had all transactions: the prepare came late.
    async fn end_unknown(
        &self,
        participant: &Arc<dyn Participant>,
        branch: &Branch,
        is_same_journal: bool,
    ) -> Result<(), BoxError> {
        let sibling = self.committed_sibling(participant, branch).await?;
        let (decision, event, text) = match sibling {
            Some(sibling) => (
                Decision::Commit,
                "a prepared transaction that the journal does not know is committed",
                format!("{branch}: `{sibling}` has committed its branch, so that the decision was to commit"),
            ),
            None if is_same_journal => (
                Decision::Abort,
                "a prepared transaction that the journal does not know is rolled back",
                format!("{branch}: no participant has committed a branch of it"),
            ),
            None => {
                if self.is_first_report(branch.as_str()) {
                    let text =
                        format!("{branch}: the coordinator's journal was lost or swapped: end it by hand");
                    let event = "a prepared transaction that the journal does not know stays prepared";
                    alert(branch.transaction(), participant.name(), event, &Text(&text));
                }
                return Ok(());
            }
        };
        alert(branch.transaction(), participant.name(), event, &Text(&text));
        let id = branch.transaction();
        let name = id.split_once('/').map_or(id, |(name, _)| name).to_owned();
        self.end_stray(participant, branch, EndedTransaction { name, decision, parent: Context::new() }).await
    }

    /// Returns the name of another participant that has committed its branch of the same transaction.
    async fn committed_sibling(
        &self,
        participant: &Arc<dyn Participant>,
        branch: &Branch,
    ) -> Result<Option<&str>, BoxError> {
        for (name, other) in self.participants.iter().filter(|(name, _)| *name != participant.name()) {
            let sibling = Branch::new(&self.name, name, branch.transaction())?;
            if timeout(self.options.timeout, other.is_committed(&sibling)).await?? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    async fn end_stray(
        &self,
        participant: &Arc<dyn Participant>,
        branch: &Branch,
        EndedTransaction { name, decision, parent }: EndedTransaction,
    ) -> Result<(), BoxError> {
        let id = branch.transaction();
        let call = Call { participant, id, name: &name, parent: &parent };
        let acknowledgement = self.send_decision(call, decision == Decision::Commit).await?;
        self.heuristic(id, &name, participant.name(), decision, acknowledgement);
        Ok(())
    }

    /// Lets participants delete what they remember of branches that ended longer than this ago.
    pub(super) async fn prune_participants(&self, older_than: Duration) {
        for participant in self.participants.values() {
            let prefix = Branch::prefix(&self.name, participant.name());
            if let Err(error) = participant.prune(&prefix, older_than).await {
                let event = "a participant did not delete branches that ended long ago";
                alert("", participant.name(), event, &*error);
            }
        }
    }
}
