//! A participant in memory, with branches that are worked on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use otel_saga::BoxError;
use otel_saga::two_phase::{Answer, Branch, Participant, Vote};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Prepared,
    Committed,
    RolledBack,
}

#[derive(Clone, Debug)]
pub(crate) struct Bank {
    name: &'static str,
    pub(crate) branches: Arc<Mutex<BTreeMap<String, Is>>>,
    /// Held by each clone, and so by all work that is neither prepared nor dropped.
    pub(crate) open: Arc<()>,
    /// What a prepare waits for, if it does.
    pub(crate) gate: Option<Arc<Notify>>,
}

/// Work in a branch.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    bank: Bank,
}

impl Bank {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, branches: Arc::default(), open: Arc::default(), gate: None }
    }

    pub(crate) fn work(&self) -> Work {
        Work { bank: self.clone() }
    }

    pub(crate) fn is(&self, branch: &Branch) -> Option<Is> {
        self.branches.lock().unwrap().get(branch.as_str()).copied()
    }

    fn end(&self, branch: &Branch, end: Is) -> Answer {
        let mut branches = self.branches.lock().unwrap();
        let is = branches.entry(branch.to_string()).or_insert(Is::RolledBack);
        if *is == Is::Prepared {
            *is = end;
        }
        match (end, *is) {
            (Is::Committed, Is::RolledBack) => Answer::RolledBack,
            (Is::RolledBack, Is::Committed) => Answer::Committed,
            _ => Answer::Done,
        }
    }
}

#[async_trait]
impl Participant for Bank {
    fn name(&self) -> &str {
        self.name
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        match self.is(branch) {
            Some(Is::Prepared | Is::Committed) => Ok(Vote::Yes),
            _ => Ok(Vote::No("nobody has worked on it".to_owned())),
        }
    }

    async fn commit(&self, branch: &Branch) -> Result<Answer, BoxError> {
        Ok(self.end(branch, Is::Committed))
    }

    async fn rollback(&self, branch: &Branch) -> Result<Answer, BoxError> {
        Ok(self.end(branch, Is::RolledBack))
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        let branches = self.branches.lock().unwrap();
        let prepared = branches.iter().filter(|(text, is)| **is == Is::Prepared && text.starts_with(prefix));
        Ok(prepared.map(|(text, _)| Branch::parse(text.as_str()).unwrap()).collect())
    }
}

#[async_trait]
impl Participant for Work {
    fn name(&self) -> &str {
        self.bank.name
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        if let Some(gate) = &self.bank.gate {
            gate.notified().await;
        }
        let mut branches = self.bank.branches.lock().unwrap();
        match *branches.entry(branch.to_string()).or_insert(Is::Prepared) {
            Is::RolledBack => Ok(Vote::No("it was rolled back before".to_owned())),
            _ => Ok(Vote::Yes),
        }
    }

    async fn commit(&self, branch: &Branch) -> Result<Answer, BoxError> {
        self.bank.commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Answer, BoxError> {
        self.bank.rollback(branch).await
    }
}
