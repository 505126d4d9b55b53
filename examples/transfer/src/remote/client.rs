//! The coordinator's side: a participant that calls a service.

use async_trait::async_trait;
use otel_grpc::{ClientLayer, ClientService};
use otel_saga::BoxError;
use otel_saga::two_phase::{Acknowledgement, Branch, Participant, Vote};
use tonic::transport::{Channel, Endpoint};
use tower_layer::Layer as _;

use super::pb;
use super::pb::participant_client::ParticipantClient;

/// A remote service as a participant in transactions. Cloning is cheap: register one with the coordinator, and add a
/// clone to each transaction in which the service has worked.
#[derive(Clone, Debug)]
pub struct RemoteParticipant {
    name: String,
    client: ParticipantClient<ClientService<Channel>>,
}

impl RemoteParticipant {
    /// Creates the participant `name` for the service at `endpoint`. It connects at the first call and reconnects after
    /// a lost connection. Timeouts are the coordinator's.
    #[must_use]
    pub fn new(name: impl Into<String>, endpoint: &Endpoint, layer: ClientLayer) -> Self {
        let channel = layer.with_target(endpoint.uri()).layer(endpoint.connect_lazy());
        Self { name: name.into(), client: ParticipantClient::new(channel) }
    }
}

fn branch(branch: &Branch) -> pb::Branch {
    pb::Branch { text: branch.as_str().to_owned() }
}

fn vote(vote: pb::Vote) -> Result<Vote, BoxError> {
    match vote.vote.ok_or("the service returned no vote")? {
        pb::vote::Vote::Yes(_) => Ok(Vote::Yes),
        pb::vote::Vote::ReadOnly(_) => Ok(Vote::ReadOnly),
        pb::vote::Vote::No(no) => Ok(Vote::No(no.reason)),
    }
}

fn acknowledgement(acknowledgement: pb::Acknowledgement) -> Result<Acknowledgement, BoxError> {
    match acknowledgement.is() {
        pb::acknowledgement::Is::Done => Ok(Acknowledgement::Done),
        pb::acknowledgement::Is::Committed => Ok(Acknowledgement::Committed),
        pb::acknowledgement::Is::RolledBack => Ok(Acknowledgement::RolledBack),
        pb::acknowledgement::Is::Mixed => Ok(Acknowledgement::Mixed),
        pb::acknowledgement::Is::Hazard => Ok(Acknowledgement::Hazard),
        pb::acknowledgement::Is::Unspecified => Err("the service returned an unknown acknowledgement".into()),
    }
}

#[async_trait]
impl Participant for RemoteParticipant {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prepare(&self, of: &Branch) -> Result<Vote, BoxError> {
        vote(self.client.clone().prepare(branch(of)).await?.into_inner())
    }

    async fn commit(&self, of: &Branch) -> Result<Acknowledgement, BoxError> {
        acknowledgement(self.client.clone().commit(branch(of)).await?.into_inner())
    }

    async fn rollback(&self, of: &Branch) -> Result<Acknowledgement, BoxError> {
        acknowledgement(self.client.clone().rollback(branch(of)).await?.into_inner())
    }

    async fn commit_in_one_phase(&self, of: &Branch) -> Result<Vote, BoxError> {
        vote(self.client.clone().commit_in_one_phase(branch(of)).await?.into_inner())
    }

    async fn in_doubt(&self, prefix: &str) -> Result<Vec<Branch>, BoxError> {
        let request = pb::InDoubtRequest { prefix: prefix.to_owned() };
        let branches = self.client.clone().in_doubt(request).await?.into_inner().branches;
        branches.into_iter().map(|branch| Branch::parse(branch.text).map_err(BoxError::from)).collect()
    }
}
