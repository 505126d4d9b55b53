//! Branches that are prepared and that nobody will come back to: those of transactions that have ended without them, or
//! of which the journal knows nothing.
//!
//! Follows `docs/sagas.md`, "In-doubt resolution": this is the second guard against a prepare that comes late; the
//! first is that participants remember what they have rolled back ("Late prepares").

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

/// A transaction that nobody has any more.
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
    /// Asks each participant what is prepared there under this coordinator's name, and ends what nobody else will.
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
            // Those that were just being ended when they were found are not there any more.
            let still = self.prepared_at(participant).await;
            for (branch, transaction) in over.into_iter().filter(|(branch, _)| still.contains(branch)) {
                if let Err(error) = self.end_stray(participant, &branch, transaction).await {
                    not_ended(participant, &branch, &*error);
                }
            }
        }
    }

    /// What is prepared there under this coordinator's name, as far as it can be told.
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

    /// The transaction of a branch, if nobody has it any more. The journal is asked after the branch was found: what is
    /// prepared has been in the journal before.
    async fn over(&self, branch: &Branch) -> Result<Option<Over>, BoxError> {
        let id = branch.transaction();
        let Some(loaded) = self.journal.load(id).await? else {
            let name = id.split_once('/').map_or(id, |(name, _)| name).to_owned();
            return Ok(Some(Over { name, decision: Decision::Abort, parent: Context::new() }));
        };
        let state = read(&loaded)?;
        // Else whoever has it will come to this branch.
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

    /// Lets participants forget what ended longer than this ago.
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
