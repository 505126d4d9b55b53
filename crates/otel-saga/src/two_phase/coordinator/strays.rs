//! Branches that are prepared and that nobody will come back to: those of transactions that have ended without them, or
//! of which the journal knows nothing.
//!
//! Follows DESIGN.md, "Sagas": presumed abort. This is the second guard against a prepare that comes late; the first is
//! that participants remember what they have rolled back.

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

impl Inner {
    /// Asks each participant what is prepared there under this coordinator's name, and ends what nobody else will.
    pub(super) async fn find_strays(&self) {
        for participant in self.participants.values() {
            let prefix = Branch::prefix(&self.name, participant.name());
            let found = match timeout(self.options.timeout, participant.in_doubt(&prefix)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    let error = error.to_string();
                    alert("", participant.name(), "a participant did not say what is prepared", &error);
                    continue;
                }
                Err(_) => {
                    alert("", participant.name(), "a participant did not say what is prepared", "timeout");
                    continue;
                }
            };
            for branch in found.iter().filter(|branch| branch.as_str().starts_with(&prefix)) {
                if let Err(error) = self.end_stray(participant, branch).await {
                    let error = error.to_string();
                    alert(branch.transaction(), participant.name(), "a stray branch was not ended", &error);
                }
            }
        }
    }

    /// The journal is asked after the branch was found: what is prepared has been in the journal before.
    async fn end_stray(&self, participant: &Arc<dyn Participant>, branch: &Branch) -> Result<(), BoxError> {
        let id = branch.transaction();
        let mut name = id.split_once('/').map_or(id, |(name, _)| name).to_owned();
        let (mut decision, mut parent) = (Decision::Abort, Context::new());
        if let Some(loaded) = self.journal.load(id).await? {
            let state = read(&loaded)?;
            if !state.ended {
                // Whoever has it will come to this branch.
                return Ok(());
            }
            decision = state.decision.unwrap_or(Decision::Abort);
            parent = context(&state);
            name = state.started.name;
        }
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
