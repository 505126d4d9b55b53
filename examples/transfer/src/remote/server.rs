//! The service's side: open branches of its requests, in front of a participant with durable state.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use otel_saga::BoxError;
use otel_saga::two_phase::{Acknowledgement, Branch, Participant, Vote};
use tonic::{Request, Response, Status};

use super::pb;
use super::pb::participant_server::{Participant as Protocol, ParticipantServer};

/// The default idle limit, after which an open branch is rolled back, because its coordinator may have crashed before
/// `prepare`.
const IDLE: Duration = Duration::from_secs(60);

/// Serves the calls of coordinators for a local participant. Cloning is cheap: handlers of the service's requests use a
/// clone to [`keep`](Self::keep) their branches.
#[derive(Clone)]
pub struct ParticipantService {
    inner: Arc<Inner>,
}

struct Inner {
    participant: Arc<dyn Participant>,
    idle: Duration,
    /// Branches with work that are not prepared yet.
    open: Mutex<HashMap<Branch, Arc<dyn Participant>>>,
}

/// The error of [`ParticipantService::keep`]: the branch belongs to another participant or is already open.
#[derive(Debug)]
#[non_exhaustive]
pub struct WrongParticipant;

impl fmt::Display for WrongParticipant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the branch belongs to another participant or is already open")
    }
}

impl std::error::Error for WrongParticipant {}

impl ParticipantService {
    /// Creates the service for this participant, under whose name coordinators register it.
    #[must_use]
    pub fn new(participant: impl Participant) -> Self {
        Self::with_idle_limit(participant, IDLE)
    }

    /// Like [`new`](Self::new), with a limit for the time between [`keep`](Self::keep) and `prepare`; default: 60 s.
    #[must_use]
    pub fn with_idle_limit(participant: impl Participant, idle: Duration) -> Self {
        let inner = Inner { participant: Arc::new(participant), idle, open: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Converts it to a service for tonic's router.
    #[must_use]
    pub fn into_server(self) -> ParticipantServer<impl Protocol> {
        ParticipantServer::new(ProtocolService(self.inner))
    }

    /// Keeps the open branch of a request until the coordinator prepares it. After the idle limit it is dropped, which
    /// rolls it back.
    ///
    /// # Errors
    ///
    /// If the branch belongs to another participant or is already open.
    pub fn keep(&self, branch: Branch, work: impl Participant) -> Result<(), WrongParticipant> {
        let work: Arc<dyn Participant> = Arc::new(work);
        {
            let mut open = self.inner.open();
            if branch.participant() != self.inner.participant.name() || open.contains_key(&branch) {
                return Err(WrongParticipant);
            }
            open.insert(branch.clone(), Arc::clone(&work));
        }
        let (inner, idle) = (Arc::downgrade(&self.inner), self.inner.idle);
        let work = Arc::downgrade(&work);
        tokio::spawn(async move {
            tokio::time::sleep(idle).await;
            if let (Some(inner), Some(work)) = (inner.upgrade(), work.upgrade()) {
                let mut open = inner.open();
                if open.get(&branch).is_some_and(|current| Arc::ptr_eq(current, &work)) {
                    open.remove(&branch);
                }
            }
        });
        Ok(())
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, HashMap<Branch, Arc<dyn Participant>>> {
        // No code panics while it holds the lock, so a poisoned map is consistent.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes and returns the open branch; without one, returns the participant with the durable state.
    fn take(&self, branch: &Branch) -> Arc<dyn Participant> {
        self.open().remove(branch).unwrap_or_else(|| Arc::clone(&self.participant))
    }

    fn branch(&self, branch: Request<pb::Branch>) -> Result<Branch, Status> {
        let branch = Branch::parse(branch.into_inner().text);
        let branch = branch.map_err(|error| Status::invalid_argument(error.to_string()))?;
        if branch.participant() == self.participant.name() {
            return Ok(branch);
        }
        Err(Status::invalid_argument("the branch belongs to another participant"))
    }
}

/// Implements the generated trait, so that the trait stays out of the public API.
struct ProtocolService(Arc<Inner>);

/// Runs the future to completion even if the caller disconnects, so that an operation is not cancelled midway.
async fn run_detached<T: Send + 'static>(
    run: impl Future<Output = Result<T, BoxError>> + Send + 'static,
) -> Result<T, Status> {
    let task = tokio::spawn(run.with_context(Context::current()));
    match task.await {
        Ok(acknowledgement) => acknowledgement.map_err(|error| Status::unavailable(error.to_string())),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

fn vote(vote: Vote) -> Result<Response<pb::Vote>, Status> {
    use pb::vote;
    let vote = match vote {
        Vote::Yes => vote::Vote::Yes(vote::Yes {}),
        Vote::ReadOnly => vote::Vote::ReadOnly(vote::ReadOnly {}),
        Vote::No(reason) => vote::Vote::No(vote::No { reason }),
        Vote::Unknown(reason) => return Err(Status::unavailable(reason)),
        _ => return Err(Status::internal("the protocol does not support this vote")),
    };
    Ok(Response::new(pb::Vote { vote: Some(vote) }))
}

fn acknowledgement(acknowledgement: Acknowledgement) -> Result<Response<pb::Acknowledgement>, Status> {
    use pb::acknowledgement::Is;
    let is = match acknowledgement {
        Acknowledgement::Done => Is::Done,
        Acknowledgement::Committed => Is::Committed,
        Acknowledgement::RolledBack => Is::RolledBack,
        Acknowledgement::Mixed => Is::Mixed,
        Acknowledgement::Hazard => Is::Hazard,
        _ => return Err(Status::internal("the protocol does not support this acknowledgement")),
    };
    Ok(Response::new(pb::Acknowledgement { is: is.into() }))
}

#[tonic::async_trait]
impl Protocol for ProtocolService {
    async fn prepare(&self, request: Request<pb::Branch>) -> Result<Response<pb::Vote>, Status> {
        let branch = self.0.branch(request)?;
        let participant = self.0.take(&branch);
        vote(run_detached(async move { participant.prepare(&branch).await }).await?)
    }

    async fn commit_in_one_phase(&self, request: Request<pb::Branch>) -> Result<Response<pb::Vote>, Status> {
        let branch = self.0.branch(request)?;
        let participant = self.0.take(&branch);
        vote(run_detached(async move { participant.commit_in_one_phase(&branch).await }).await?)
    }

    async fn commit(&self, request: Request<pb::Branch>) -> Result<Response<pb::Acknowledgement>, Status> {
        let branch = self.0.branch(request)?;
        let participant = Arc::clone(&self.0.participant);
        acknowledgement(run_detached(async move { participant.commit(&branch).await }).await?)
    }

    async fn rollback(&self, request: Request<pb::Branch>) -> Result<Response<pb::Acknowledgement>, Status> {
        let branch = self.0.branch(request)?;
        // Dropping an unprepared branch releases its locks, for which the rollback would otherwise wait.
        self.0.open().remove(&branch);
        let participant = Arc::clone(&self.0.participant);
        acknowledgement(run_detached(async move { participant.rollback(&branch).await }).await?)
    }

    async fn in_doubt(
        &self,
        request: Request<pb::InDoubtRequest>,
    ) -> Result<Response<pb::InDoubtReply>, Status> {
        let prefix = request.into_inner().prefix;
        let participant = Arc::clone(&self.0.participant);
        let branches = run_detached(async move { participant.in_doubt(&prefix).await }).await?;
        let branches =
            branches.iter().map(|branch| pb::Branch { text: branch.as_str().to_owned() }).collect();
        Ok(Response::new(pb::InDoubtReply { branches }))
    }
}

impl fmt::Debug for ParticipantService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParticipantService").field(&self.inner.participant).finish()
    }
}
