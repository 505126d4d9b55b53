//! What a coordinator asks of a participant: one small object-safe trait.
//!
//! Follows `docs/sagas.md`, "In-doubt resolution" and "Late prepares": each call may come more than once, late, and
//! from another process than the one before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::BoxError;

/// How long a branch's text may be. Postgres takes identifiers of less than 200 bytes.
const LONGEST: usize = 199;

/// One participant's share in one transaction, as a text that no other has: the coordinator's name, the participant's, the
/// transaction's and its key, between slashes. Only the key may have slashes of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Branch {
    text: String,
    /// Where the participant's name begins and ends.
    participant: (usize, usize),
}

/// A text that is no branch's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not `coordinator/participant/transaction/key`, printable and of less than 200 bytes")]
#[non_exhaustive]
pub struct BranchError {
    /// The text.
    pub text: String,
}

impl Branch {
    /// The branch of this text, as it came with a request or out of a database.
    ///
    /// # Errors
    ///
    /// If it is none's.
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

    /// What the texts of all branches of this coordinator at this participant begin with.
    pub(crate) fn prefix(coordinator: &str, participant: &str) -> String {
        format!("{coordinator}/{participant}/")
    }

    /// The text: what a participant knows the branch by.
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

    /// The transaction's name, a slash, and its key.
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

/// What a participant says when it is asked to prepare.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vote {
    /// It has made the branch durable, and can commit it and roll it back, whatever happens.
    Yes,
    /// The branch has changed nothing and holds nothing any more: it need not be told how the transaction ended.
    ReadOnly,
    /// It has rolled the branch back, for this reason, and will never commit it.
    No(String),
}

/// What a participant says when it is told the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// It is as it was told, by now or since an earlier call.
    Done,
    /// Told to roll back: it is committed. Told to commit: somebody else had committed it before.
    Committed,
    /// Told to commit: it was rolled back. Told to roll back: somebody else had done so after it was prepared.
    RolledBack,
    /// Parts of it are committed, and parts are not.
    Mixed,
    /// Nobody knows what has become of it, and nobody will.
    Hazard,
}

impl Answer {
    /// In one word; none if there is nothing to tell.
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

/// Somebody who can prepare, commit and roll back: a database, a queue, another service.
///
/// Each call is idempotent by its branch: the same call again does nothing again, and is answered as it was the first time.
/// Any error means that the outcome is unknown. After a prepare it is an abort; commits and rollbacks are asked again.
#[async_trait]
pub trait Participant: Send + Sync + fmt::Debug + 'static {
    /// Its name, by which it is found again after a crash: the same in all processes, 40 bytes at most, no slashes.
    fn name(&self) -> &str;

    /// Makes what was done in this branch durable, so that either can still happen. A branch that was rolled back before
    /// is voted against: a prepare that comes late must leave nothing behind.
    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError>;

    /// Commits a branch that was prepared.
    async fn commit(&self, branch: &Branch) -> Result<Answer, BoxError>;

    /// Rolls a branch back, whether it was prepared or was never heard of; the latter it remembers, against a late prepare.
    /// A branch that is committed is answered with [`Answer::Committed`].
    async fn rollback(&self, branch: &Branch) -> Result<Answer, BoxError>;

    /// Commits a branch that is the transaction's only one, without preparing it if that can be. [`Vote::Yes`] says that
    /// it is committed. After an error it is rolled back, and what that answers tells what has become of it.
    async fn commit_in_one_phase(&self, branch: &Branch) -> Result<Vote, BoxError> {
        match self.prepare(branch).await? {
            Vote::Yes => match self.commit(branch).await? {
                Answer::Done | Answer::Committed => Ok(Vote::Yes),
                Answer::RolledBack => Ok(Vote::No("somebody else rolled it back".to_owned())),
                answer => Err(format!("the commit was answered with {answer:?}").into()),
            },
            vote => Ok(vote),
        }
    }

    /// Branches that are prepared, and whose texts begin so. Whoever cannot tell has none; then only what the journal knows
    /// of is resolved.
    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        let _ = prefix;
        Ok(Vec::new())
    }

    /// Forgets what it remembers of branches that begin so and ended longer than this ago.
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

    async fn commit(&self, branch: &Branch) -> Result<Answer, BoxError> {
        (**self).commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Answer, BoxError> {
        (**self).rollback(branch).await
    }

    async fn commit_in_one_phase(&self, branch: &Branch) -> Result<Vote, BoxError> {
        (**self).commit_in_one_phase(branch).await
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        (**self).in_doubt(prefix).await
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
