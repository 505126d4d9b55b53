//! A participant in memory that follows a test's script and records its calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_saga::journal::Journal;
use otel_saga::two_phase::{Acknowledgement, Branch, Coordinator, CoordinatorBuilder, Participant, Vote};
use otel_saga::{BoxError, RetryPolicy};

/// The scripted result of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Refuse,
    ReadOnly,
    /// The branch is prepared, and the participant does not know that.
    Unsure,
    /// The call has no effect, and the caller does not know that.
    Lose,
    /// The call has its effect, and the answer is lost.
    LoseAnswer,
    /// The caller receives no answer, and the effect follows this many milliseconds later, even if the call is
    /// dropped.
    Late(u64),
    /// The call has its effect after this many milliseconds.
    Slow(u64),
    Hang,
    Panic,
    Say(Acknowledgement),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Prepared,
    Committed,
    RolledBack,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    script: BTreeMap<&'static str, VecDeque<Fault>>,
    pub(super) calls: Vec<&'static str>,
    pub(super) branches: BTreeMap<String, Is>,
    /// The ids of the spans in which it was called.
    pub(super) spans: BTreeSet<String>,
    /// Branches that the next scan returns in addition, and later ones do not, because they end meanwhile.
    pub(super) once_in_doubt: Vec<String>,
    pub(super) pruned: Vec<(String, Duration)>,
}

/// One participant; its clones share the ledger.
#[derive(Clone, Debug)]
pub(super) struct Bank {
    name: &'static str,
    ledger: Arc<Mutex<Ledger>>,
    tells_in_doubt: bool,
}

impl Bank {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, ledger: Arc::default(), tells_in_doubt: true }
    }

    pub(super) fn without_scan(mut self) -> Self {
        self.tells_in_doubt = false;
        self
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the results of the next calls of this verb; later calls succeed.
    pub(super) fn script(&self, verb: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.ledger().script.insert(verb, faults.into_iter().collect());
    }

    pub(super) fn called(&self) -> String {
        self.ledger().calls.join(" ")
    }

    /// Returns the state of the only branch.
    pub(super) fn is(&self) -> Option<Is> {
        let ledger = self.ledger();
        assert!(ledger.branches.len() <= 1, "{:?}", ledger.branches);
        ledger.branches.values().next().copied()
    }

    pub(super) fn set(&self, branch: &str, is: Is) {
        self.ledger().branches.insert(branch.to_owned(), is);
    }

    async fn call(&self, verb: &'static str) -> Option<Fault> {
        let fault = {
            let mut ledger = self.ledger();
            ledger.calls.push(verb);
            ledger.spans.insert(Context::current().span().span_context().span_id().to_string());
            ledger.script.get_mut(verb).and_then(VecDeque::pop_front)
        };
        match fault {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Panic) => panic!("as the test told it"),
            Some(Fault::Slow(millis)) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                None
            }
            fault => fault,
        }
    }

    fn prepare_now(&self, branch: &Branch) -> Vote {
        match *self.ledger().branches.entry(branch.to_string()).or_insert(Is::Prepared) {
            Is::Prepared | Is::Committed => Vote::Yes,
            Is::RolledBack => Vote::No("it was rolled back before".to_owned()),
        }
    }

    fn end_now(&self, branch: &Branch, end: Is) -> Acknowledgement {
        let mut ledger = self.ledger();
        // An unknown branch is remembered as well.
        let is = ledger.branches.entry(branch.to_string()).or_insert(match end {
            Is::Committed => Is::RolledBack,
            end => end,
        });
        if *is == Is::Prepared {
            *is = end;
        }
        match (end, *is) {
            (Is::Committed, Is::RolledBack) => Acknowledgement::RolledBack,
            (Is::RolledBack, Is::Committed) => Acknowledgement::Committed,
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
        match self.call("prepare").await {
            Some(Fault::Refuse) => return Ok(Vote::No("no money".to_owned())),
            Some(Fault::ReadOnly) => return Ok(Vote::ReadOnly),
            Some(Fault::Lose) => return Err("lost".into()),
            Some(Fault::Unsure) => {
                self.prepare_now(branch);
                return Ok(Vote::Unknown("no reply from the ledger".to_owned()));
            }
            Some(Fault::LoseAnswer) => {
                self.prepare_now(branch);
                return Err("the answer was lost".into());
            }
            Some(Fault::Late(millis)) => {
                let (bank, branch) = (self.clone(), branch.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    bank.prepare_now(&branch);
                });
                return Err("cut off".into());
            }
            _ => {}
        }
        Ok(self.prepare_now(branch))
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.end("commit", branch, Is::Committed).await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.end("rollback", branch, Is::RolledBack).await
    }

    /// Returns more than requested: the coordinator has to filter by its prefix.
    async fn in_doubt(&self, _: &str) -> Result<Vec<Branch>, BoxError> {
        if !self.tells_in_doubt {
            return Ok(Vec::new());
        }
        let mut ledger = self.ledger();
        let once = std::mem::take(&mut ledger.once_in_doubt);
        let prepared = ledger.branches.iter().filter(|(_, is)| **is == Is::Prepared).map(|(text, _)| text);
        Ok(prepared.chain(&once).map(|text| Branch::parse(text.as_str()).unwrap()).collect())
    }

    async fn prune(&self, prefix: &str, older_than: Duration) -> Result<(), BoxError> {
        self.ledger().pruned.push((prefix.to_owned(), older_than));
        Ok(())
    }
}

impl Bank {
    async fn end(&self, verb: &'static str, branch: &Branch, end: Is) -> Result<Acknowledgement, BoxError> {
        match self.call(verb).await {
            Some(Fault::Lose) => return Err("lost".into()),
            Some(Fault::LoseAnswer) => {
                self.end_now(branch, end);
                return Err("the answer was lost".into());
            }
            Some(Fault::Say(answer)) => return Ok(answer),
            _ => {}
        }
        Ok(self.end_now(branch, end))
    }
}

/// A coordinator with a lease of ten seconds.
pub(super) fn builder(journal: &Arc<dyn Journal>, worker: &str, banks: &[&Bank]) -> CoordinatorBuilder {
    let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
    let retry = RetryPolicy::exponential(first, longest).with_attempts(3).without_jitter();
    let builder = Coordinator::builder(Arc::clone(journal), "pay").with_worker(worker).with_retry(retry);
    let builder = builder.with_lease(Duration::from_secs(10)).with_timeout(Duration::from_secs(5));
    banks.iter().fold(builder, |builder, bank| builder.with_participant((*bank).clone()))
}
