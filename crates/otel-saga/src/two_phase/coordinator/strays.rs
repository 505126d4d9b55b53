//! Stray branches: prepared branches that no coordinator will end, because their transaction has ended without them
//! or is unknown to the journal.
//!
//! Follows `docs/sagas.md`, "In-doubt resolution": this is the second guard against a prepare that comes late; the
//! first is that participants remember the branches that they have rolled back ("Late prepares").

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use tokio::time::timeout;

use super::Inner;
use super::append::read;
use super::call::Call;
use super::recover::context;
use crate::error::BoxError;
use crate::two_phase::flow::Decision;
use crate::two_phase::participant::{Branch, Participant};
use crate::two_phase::telemetry::alert;

/// The decision for a stray branch, with the data of its call.
struct Over {
    name: String,
    decision: Decision,
    parent: Context,
}

fn not_ended(participant: &Arc<dyn Participant>, branch: &Branch, error: &(dyn Error + Send + Sync)) {
    let error = error.to_string();
    alert(branch.transaction(), participant.name(), "a stray branch was not ended", &error);
}

impl Inner {
    /// Asks each participant for the branches that are prepared under this coordinator's name, and ends the stray
    /// ones.
    pub(super) async fn find_strays(&self) {
        for participant in self.participants.values() {
            let mut over = Vec::new();
            for branch in self.prepared_at(participant).await {
                match self.over(&branch).await {
                    Ok(Some(transaction)) => over.push((branch, transaction)),
                    Ok(None) => {}
                    Err(error) => not_ended(participant, &branch, &*error),
                }
            }
            if over.is_empty() {
                continue;
            }
            // Asked again, because a branch that another task was ending at the first time is not stray.
            let still = self.prepared_at(participant).await;
            for (branch, transaction) in over.into_iter().filter(|(branch, _)| still.contains(branch)) {
                if let Err(error) = self.end_stray(participant, &branch, transaction).await {
                    not_ended(participant, &branch, &*error);
                }
            }
        }
    }

    /// Returns the branches that are prepared under this coordinator's name; none if the participant does not report
    /// them.
    async fn prepared_at(&self, participant: &Arc<dyn Participant>) -> Vec<Branch> {
        let prefix = Branch::prefix(&self.name, participant.name());
        let error = match timeout(self.options.timeout, participant.in_doubt(&prefix)).await {
            Ok(Ok(mut found)) => {
                found.retain(|branch| branch.as_str().starts_with(&prefix));
                return found;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timeout".to_owned(),
        };
        alert("", participant.name(), "a participant did not say what is prepared", &error);
        Vec::new()
    }

    /// Returns the decision for a branch if it is stray. The journal is read after the branch was found, because a
    /// transaction is in the journal before its branches are prepared.
    async fn over(&self, branch: &Branch) -> Result<Option<Over>, BoxError> {
        let id = branch.transaction();
        let Some(loaded) = self.journal.load(id).await? else {
            let name = id.split_once('/').map_or(id, |(name, _)| name).to_owned();
            return Ok(Some(Over { name, decision: Decision::Abort, parent: Context::new() }));
        };
        let state = read(&loaded)?;
        // While the transaction has not ended, its coordinator will end the branch.
        Ok(state.ended.then(|| Over {
            decision: state.decision.unwrap_or(Decision::Abort),
            parent: context(&state),
            name: state.started.name,
        }))
    }

    async fn end_stray(
        &self,
        participant: &Arc<dyn Participant>,
        branch: &Branch,
        Over { name, decision, parent }: Over,
    ) -> Result<(), BoxError> {
        let id = branch.transaction();
        let call = Call { participant, id, name: &name, parent: &parent };
        let answer = self.tell(call, decision == Decision::Commit).await?;
        self.heuristic(id, &name, participant.name(), decision, answer);
        Ok(())
    }

    /// Lets participants delete what they remember of branches that ended longer than this ago.
    pub(super) async fn prune_participants(&self, older_than: Duration) {
        for participant in self.participants.values() {
            let prefix = Branch::prefix(&self.name, participant.name());
            if let Err(error) = participant.prune(&prefix, older_than).await {
                let error = error.to_string();
                alert("", participant.name(), "a participant did not forget what ended long ago", &error);
            }
        }
    }
}
