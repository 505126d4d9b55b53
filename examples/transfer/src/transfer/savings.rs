//! The service with the savings accounts, whose database participates in transactions of other coordinators.

use std::net::Ipv4Addr;

use otel_saga::two_phase::{Branch, PostgresParticipant};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{self, Server};
use tonic::{Request, Response, Status};
use transfer::remote::ParticipantService;

use super::book;
use super::pb::account_server::{Account, AccountServer};
use super::pb::{PayInReply, PayInRequest};
use crate::Failure;
use crate::stage::Stage;

/// The running service.
pub(crate) struct Savings {
    pub(crate) address: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), transport::Error>>,
}

impl Savings {
    pub(crate) async fn serve(stage: &mut Stage, database: PgPool) -> Result<Self, Failure> {
        let database = PostgresParticipant::connect("savings", database).await?;
        let participant = ParticipantService::new(database.clone());
        let accounts = Accounts { database, participant: participant.clone() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let serving = Server::builder()
            .layer(stage.service("savings")?.server_layer()?)
            .add_service(AccountServer::new(accounts))
            .add_service(participant.into_server())
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
                // An error means that the sender was dropped, which stops the server as well.
                let _ = stopped.await;
            });
        Ok(Self { address, stop, serving: tokio::spawn(serving) })
    }

    /// Stops the service after its open calls have ended.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        // The send fails if the server has already ended; the task then returns the reason.
        let _ = self.stop.send(());
        Ok(self.serving.await??)
    }
}

struct Accounts {
    database: PostgresParticipant,
    participant: ParticipantService,
}

#[tonic::async_trait]
impl Account for Accounts {
    async fn pay_in(&self, request: Request<PayInRequest>) -> Result<Response<PayInReply>, Status> {
        let request = request.into_inner();
        let branch = Branch::parse(request.branch);
        let branch = branch.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let open = self.database.begin_branch(branch.clone()).await;
        let mut open = open.map_err(|error| Status::unavailable(error.to_string()))?;
        let result = book(open.connection(), &request.account, request.cents).await;
        result.map_err(|error| Status::aborted(error.to_string()))?;
        // Kept until the coordinator prepares it, or rolled back after the idle limit.
        let kept = self.participant.keep(branch, open);
        kept.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(PayInReply {}))
    }
}
