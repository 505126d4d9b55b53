//! The service's side: branches that its own requests have worked on, and a participant that remembers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use otel_saga::BoxError;
use otel_saga::two_phase::{Answer, Branch, Participant, Vote};
use tonic::{Request, Response, Status};

use super::pb;
use super::pb::participant_server::{Participant as Protocol, ParticipantServer};

/// How long a branch may wait for its prepare. Whoever dies before it has asked for one leaves the branch open.
const IDLE: Duration = Duration::from_secs(60);

/// What answers a coordinator, in front of a participant that is here. Cloning is cheap: the service's own requests
/// [`keep`](Self::keep) what they have worked on.
#[derive(Clone)]
pub struct ParticipantService {
    inner: Arc<Inner>,
}

struct Inner {
    participant: Arc<dyn Participant>,
    idle: Duration,
    /// Branches that were worked on and are to be prepared.
    open: Mutex<HashMap<Branch, Arc<dyn Participant>>>,
}

/// The branch is another participant's, or is being worked on already.
#[derive(Debug)]
#[non_exhaustive]
pub struct WrongParticipant;

impl fmt::Display for WrongParticipant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the branch is another participant's, or is open already")
    }
}

impl std::error::Error for WrongParticipant {}

impl ParticipantService {
    /// Answers for this participant. Its name is the one by which coordinators know the service.
    #[must_use]
    pub fn new(participant: impl Participant) -> Self {
        Self::with_idle_limit(participant, IDLE)
    }

    /// The same, with another limit to how long a branch may wait for its prepare; a minute if not told.
    #[must_use]
    pub fn with_idle_limit(participant: impl Participant, idle: Duration) -> Self {
        let inner = Inner { participant: Arc::new(participant), idle, open: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The service, for tonic's router.
    #[must_use]
    pub fn into_server(self) -> ParticipantServer<impl Protocol> {
        ParticipantServer::new(Served(self.inner))
    }

    /// Keeps a branch that a request has worked on, until the coordinator asks for it. After a while it is dropped, which
    /// rolls it back.
    ///
    /// # Errors
    ///
    /// If the branch is another participant's, or one is kept already.
    pub fn keep(&self, branch: Branch, worked_on: impl Participant) -> Result<(), WrongParticipant> {
        let worked_on: Arc<dyn Participant> = Arc::new(worked_on);
        {
            let mut open = self.inner.open();
            if branch.participant() != self.inner.participant.name() || open.contains_key(&branch) {
                return Err(WrongParticipant);
            }
            open.insert(branch.clone(), Arc::clone(&worked_on));
        }
        let (inner, idle) = (Arc::downgrade(&self.inner), self.inner.idle);
        let kept = Arc::downgrade(&worked_on);
        tokio::spawn(async move {
            tokio::time::sleep(idle).await;
            if let (Some(inner), Some(kept)) = (inner.upgrade(), kept.upgrade()) {
                let mut open = inner.open();
                if open.get(&branch).is_some_and(|there| Arc::ptr_eq(there, &kept)) {
                    open.remove(&branch);
                }
            }
        });
        Ok(())
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, HashMap<Branch, Arc<dyn Participant>>> {
        // Nothing in there panics halfway through a change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was worked on, once; or else whoever remembers what became of it.
    fn take(&self, branch: &Branch) -> Arc<dyn Participant> {
        self.open().remove(branch).unwrap_or_else(|| Arc::clone(&self.participant))
    }

    fn branch(&self, branch: Request<pb::Branch>) -> Result<Branch, Status> {
        let branch = Branch::parse(branch.into_inner().text);
        let branch = branch.map_err(|error| Status::invalid_argument(error.to_string()))?;
        if branch.participant() == self.participant.name() {
            return Ok(branch);
        }
        Err(Status::invalid_argument("the branch is another participant's"))
    }
}

/// The protocol's trait, which nobody needs to see.
struct Served(Arc<Inner>);

/// Runs this to its end, also if the caller has gone: what was begun is not to be cut in the middle.
async fn uncut<T: Send + 'static>(
    run: impl Future<Output = Result<T, BoxError>> + Send + 'static,
) -> Result<T, Status> {
    let running = tokio::spawn(run.with_context(Context::current()));
    match running.await {
        Ok(answer) => answer.map_err(|error| Status::unavailable(error.to_string())),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

fn vote(vote: Vote) -> Result<Response<pb::Vote>, Status> {
    use pb::vote;
    let vote = match vote {
        Vote::Yes => vote::Vote::Yes(vote::Yes {}),
        Vote::ReadOnly => vote::Vote::ReadOnly(vote::ReadOnly {}),
        Vote::No(reason) => vote::Vote::No(vote::No { reason }),
        _ => return Err(Status::internal("a vote that the protocol does not have")),
    };
    Ok(Response::new(pb::Vote { vote: Some(vote) }))
}

fn answer(answer: Answer) -> Result<Response<pb::Answer>, Status> {
    use pb::answer::Is;
    let is = match answer {
        Answer::Done => Is::Done,
        Answer::Committed => Is::Committed,
        Answer::RolledBack => Is::RolledBack,
        Answer::Mixed => Is::Mixed,
        Answer::Hazard => Is::Hazard,
        _ => return Err(Status::internal("an answer that the protocol does not have")),
    };
    Ok(Response::new(pb::Answer { is: is.into() }))
}

#[tonic::async_trait]
impl Protocol for Served {
    async fn prepare(&self, request: Request<pb::Branch>) -> Result<Response<pb::Vote>, Status> {
        let branch = self.0.branch(request)?;
        let asked = self.0.take(&branch);
        vote(uncut(async move { asked.prepare(&branch).await }).await?)
    }

    async fn commit_in_one_phase(&self, request: Request<pb::Branch>) -> Result<Response<pb::Vote>, Status> {
        let branch = self.0.branch(request)?;
        let asked = self.0.take(&branch);
        vote(uncut(async move { asked.commit_in_one_phase(&branch).await }).await?)
    }

    async fn commit(&self, request: Request<pb::Branch>) -> Result<Response<pb::Answer>, Status> {
        let branch = self.0.branch(request)?;
        let asked = Arc::clone(&self.0.participant);
        answer(uncut(async move { asked.commit(&branch).await }).await?)
    }

    async fn rollback(&self, request: Request<pb::Branch>) -> Result<Response<pb::Answer>, Status> {
        let branch = self.0.branch(request)?;
        // What was never asked to prepare is let go of: its locks are not to be waited for.
        self.0.open().remove(&branch);
        let asked = Arc::clone(&self.0.participant);
        answer(uncut(async move { asked.rollback(&branch).await }).await?)
    }

    async fn in_doubt(
        &self,
        request: Request<pb::InDoubtRequest>,
    ) -> Result<Response<pb::InDoubtReply>, Status> {
        let prefix = request.into_inner().prefix;
        let asked = Arc::clone(&self.0.participant);
        let found = uncut(async move { asked.in_doubt(&prefix).await }).await?;
        let branches = found.iter().map(|branch| pb::Branch { text: branch.as_str().to_owned() }).collect();
        Ok(Response::new(pb::InDoubtReply { branches }))
    }
}

impl fmt::Debug for ParticipantService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParticipantService").field(&self.inner.participant).finish()
    }
}
