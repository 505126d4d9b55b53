//! The interface between a coordinator and a participant: one small object-safe trait.
//!
//! Follows `docs/sagas.md`, "In-doubt resolution" and "Late prepares": each call may come more than once, late, and
//! from another process than the one before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::BoxError;

/// Maximum length of a branch's text. Postgres limits the identifier of a prepared transaction to less than 200
/// bytes.
const LONGEST: usize = 199;

/// The identifier of one participant's part in one transaction: the names of the coordinator, the participant and the
/// transaction, and the key, separated by slashes. Only the key may contain slashes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Branch {
    text: String,
    /// The start and the end of the participant's name in the text.
    participant: (usize, usize),
}

/// A text that does not identify a branch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not `coordinator/participant/transaction/key`, printable and of less than 200 bytes")]
#[non_exhaustive]
pub struct BranchError {
    /// The text.
    pub text: String,
}

impl Branch {
    /// Parses the text of a branch, for example from a request or a database.
    ///
    /// # Errors
    ///
    /// Returns an error if the text does not identify a branch.
    pub fn parse(text: impl Into<String>) -> Result<Self, BranchError> {
        let text = text.into();
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let whole = parts.len() == 4 && parts.iter().all(|part| !part.is_empty());
        if !whole || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(BranchError { text });
        }
        let begin = parts.first().map_or(0, |coordinator| coordinator.len() + 1);
        let end = begin + parts.get(1).map_or(0, |participant| participant.len());
        Ok(Self { text, participant: (begin, end) })
    }

    pub(crate) fn new(coordinator: &str, participant: &str, transaction: &str) -> Result<Self, BranchError> {
        Self::parse(format!("{}{transaction}", Self::prefix(coordinator, participant)))
    }

    /// Returns the common prefix of all branches of this coordinator at this participant.
    pub(crate) fn prefix(coordinator: &str, participant: &str) -> String {
        format!("{coordinator}/{participant}/")
    }

    /// Returns the text, by which the participant identifies the branch.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The participant's name.
    #[must_use]
    pub fn participant(&self) -> &str {
        let (begin, end) = self.participant;
        self.text.get(begin..end).unwrap_or_default()
    }

    /// Returns the transaction's id: its name, a slash, and its key.
    #[must_use]
    pub fn transaction(&self) -> &str {
        self.text.get(self.participant.1 + 1..).unwrap_or_default()
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Branch({})", self.text)
    }
}

/// The answer of a participant to a prepare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Vote {
    /// The branch is durable, and can be committed and rolled back, whatever happens.
    Yes,
    /// The branch changed nothing and holds no locks any more. It is not called with the decision.
    ReadOnly,
    /// The branch was rolled back, for this reason, and will never be committed.
    No(String),
    /// The vote is unknown, for this reason: the branch may be prepared, or may still be. Each error of a call, and a
    /// time-out, counts as this vote.
    Unknown(String),
}

impl Vote {
    /// The vote as one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::ReadOnly => "read_only",
            Self::No(_) => "no",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns the reason of a vote that aborts the transaction.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Yes | Self::ReadOnly => None,
            Self::No(reason) | Self::Unknown(reason) => Some(reason),
        }
    }
}

/// The answer of a participant to a commit or a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Acknowledgement {
    /// The branch is in the requested state, by this call or by an earlier one.
    Done,
    /// To a rollback: the branch is committed. To a commit: it had been committed by other means than a coordinator's
    /// call.
    Committed,
    /// To a commit: the branch is rolled back. To a rollback: it had been rolled back, after it was prepared, by
    /// other means than a coordinator's call.
    RolledBack,
    /// The branch is committed in part.
    Mixed,
    /// The outcome of the branch is lost.
    Hazard,
}

impl Acknowledgement {
    /// Returns the heuristic outcome as one word; `None` for [`Done`](Self::Done).
    #[must_use]
    pub fn heuristic(self) -> Option<&'static str> {
        match self {
            Self::Done => None,
            Self::Committed => Some("committed"),
            Self::RolledBack => Some("rolled_back"),
            Self::Mixed => Some("mixed"),
            Self::Hazard => Some("hazard"),
        }
    }
}

/// A resource that can prepare, commit and roll back: a database, a queue, another service.
///
/// Each call is idempotent by its branch: a repeated call changes nothing, and returns the answer of the first one.
/// Any error means that the outcome is unknown. After a prepare the transaction is aborted; commits and rollbacks are
/// repeated.
#[async_trait]
pub trait Participant: Send + Sync + fmt::Debug + 'static {
    /// Returns the name by which recovery finds the participant: the same in all processes, at most 40 bytes, no
    /// slashes.
    fn name(&self) -> &str;

    /// Makes the work of this branch durable, so that it can be committed and rolled back. A branch that was rolled
    /// back before has to vote [`Vote::No`], so that a late prepare leaves nothing behind.
    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError>;

    /// Commits a prepared branch.
    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError>;

    /// Rolls back a branch, prepared or unknown. A participant remembers an unknown branch, so that a late prepare is
    /// refused. The answer for a committed branch is [`Acknowledgement::Committed`].
    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError>;

    /// Commits the only branch of a transaction, without preparing it if possible. [`Vote::Yes`] means that it is
    /// committed. After an error a rollback follows, whose answer decides the transaction.
    async fn commit_in_one_phase(&self, branch: &Branch) -> Result<Vote, BoxError> {
        match self.prepare(branch).await? {
            Vote::Yes => match self.commit(branch).await? {
                Acknowledgement::Done | Acknowledgement::Committed => Ok(Vote::Yes),
                Acknowledgement::RolledBack => Ok(Vote::No("somebody else rolled it back".to_owned())),
                acknowledgement => Err(format!("the commit was answered with {acknowledgement:?}").into()),
            },
            vote => Ok(vote),
        }
    }

    /// Returns the prepared branches whose texts begin with this prefix. A participant that cannot list them returns
    /// none; recovery then resolves only transactions in the journal.
    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        let _ = prefix;
        Ok(Vec::new())
    }

    /// Returns true if the participant knows that it has committed this branch. That proves the decision to commit to a
    /// coordinator that has lost its journal. Default: false.
    async fn is_committed(&self, branch: &Branch) -> Result<bool, BoxError> {
        let _ = branch;
        Ok(false)
    }

    /// Remembers the identity of the coordinator's journal, unless it remembers another one that is not to be replaced.
    /// Returns the one that it remembers now. `None`, the default: it cannot remember any.
    async fn remember_journal(
        &self,
        coordinator: &str,
        journal: &str,
        replace: bool,
    ) -> Result<Option<String>, BoxError> {
        let _ = (coordinator, journal, replace);
        Ok(None)
    }

    /// Deletes what the participant remembers of branches with this prefix that ended longer than this ago.
    async fn prune(&self, prefix: &str, older_than: Duration) -> Result<(), BoxError> {
        let _ = (prefix, older_than);
        Ok(())
    }
}

#[async_trait]
impl<P: Participant + ?Sized> Participant for Arc<P> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        (**self).prepare(branch).await
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        (**self).commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        (**self).rollback(branch).await
    }

    async fn commit_in_one_phase(&self, branch: &Branch) -> Result<Vote, BoxError> {
        (**self).commit_in_one_phase(branch).await
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        (**self).in_doubt(prefix).await
    }

    async fn is_committed(&self, branch: &Branch) -> Result<bool, BoxError> {
        (**self).is_committed(branch).await
    }

    async fn remember_journal(
        &self,
        coordinator: &str,
        journal: &str,
        replace: bool,
    ) -> Result<Option<String>, BoxError> {
        (**self).remember_journal(coordinator, journal, replace).await
    }

    async fn prune(&self, prefix: &str, older_than: Duration) -> Result<(), BoxError> {
        (**self).prune(prefix, older_than).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_read_as_it_was_written() {
        let branch = Branch::new("pay", "bank", "transfer/a/b").unwrap();
        assert_eq!(branch.as_str(), "pay/bank/transfer/a/b");
        assert_eq!((branch.participant(), branch.transaction()), ("bank", "transfer/a/b"));
        assert_eq!(Branch::parse(branch.as_str()).unwrap(), branch);
        assert!(branch.as_str().starts_with(&Branch::prefix("pay", "bank")));
    }

    #[test]
    fn what_is_no_branch_is_refused() {
        for text in ["", "a/b/c", "a//c/d", "a/b/c/", "a/b/c/\n"] {
            assert!(Branch::parse(text).is_err(), "{text}");
        }
        assert!(Branch::new("pay", "bank", &format!("t/{}", "k".repeat(200))).is_err());
    }
}
