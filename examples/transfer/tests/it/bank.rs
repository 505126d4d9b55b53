//! An in-memory participant with open branches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use otel_saga::BoxError;
use otel_saga::two_phase::{Acknowledgement, Branch, Participant, Vote};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BranchState {
    Prepared,
    Committed,
    RolledBack,
}

#[derive(Clone, Debug)]
pub(crate) struct Bank {
    name: &'static str,
    pub(crate) branches: Arc<Mutex<BTreeMap<String, BranchState>>>,
    /// Cloned with the bank and with each piece of work; its strong count shows the work that was not dropped.
    pub(crate) open: Arc<()>,
    /// If set, `prepare` waits for it.
    pub(crate) gate: Option<Arc<Notify>>,
}

/// The open work in a branch.
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

    pub(crate) fn state(&self, branch: &Branch) -> Option<BranchState> {
        self.branches.lock().unwrap().get(branch.as_str()).copied()
    }

    fn end(&self, branch: &Branch, end: BranchState) -> Acknowledgement {
        let mut branches = self.branches.lock().unwrap();
        let state = branches.entry(branch.to_string()).or_insert(BranchState::RolledBack);
        if *state == BranchState::Prepared {
            *state = end;
        }
        match (end, *state) {
            (BranchState::Committed, BranchState::RolledBack) => Acknowledgement::RolledBack,
            (BranchState::RolledBack, BranchState::Committed) => Acknowledgement::Committed,
            _ => Acknowledgement::Done,
        }
    }
}

#[async_trait]
impl Participant for Bank {
    fn name(&self) -> &str {
        self.name
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        match self.state(branch) {
            Some(BranchState::Prepared | BranchState::Committed) => Ok(Vote::Yes),
            _ => Ok(Vote::No("the branch has no work".to_owned())),
        }
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        Ok(self.end(branch, BranchState::Committed))
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        Ok(self.end(branch, BranchState::RolledBack))
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        let branches = self.branches.lock().unwrap();
        let prepared = branches
            .iter()
            .filter(|(text, state)| **state == BranchState::Prepared && text.starts_with(prefix));
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
        match *branches.entry(branch.to_string()).or_insert(BranchState::Prepared) {
            BranchState::RolledBack => Ok(Vote::No("the branch was already rolled back".to_owned())),
            _ => Ok(Vote::Yes),
        }
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.bank.commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.bank.rollback(branch).await
    }
}
