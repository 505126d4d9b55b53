//! A transfer as a two-phase commit between a local database and the database of another service.

mod databases;
pub(crate) mod demo;
mod savings;
pub(crate) mod server;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry::trace::FutureExt as _;
use otel_grpc::ClientService;
use otel_saga::BoxError;
use otel_saga::journal::RedbJournal;
use otel_saga::two_phase::{
    Acknowledgement, Branch, Coordinator, Outcome, Participant, PostgresParticipant, Vote,
};
use sqlx::{PgExecutor, PgPool};
use tonic::transport::{Channel, Endpoint};
use tower_layer::Layer as _;
use transfer::remote::RemoteParticipant;

use self::pb::PayInRequest;
use self::pb::account_client::AccountClient;
use crate::Failure;
use crate::stage::Stage;
use crate::victim::KillPoint;

/// The protocol of `proto/account.proto`.
mod pb {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::exhaustive_enums,
        clippy::exhaustive_structs,
        reason = "generated"
    )]

    tonic::include_proto!("transfer.v1");
}

/// The identity of a coordinator, by which it resumes after a crash.
pub(crate) struct Identity {
    /// The path of its journal, which contains only two-phase commit transactions.
    pub(crate) journal: PathBuf,
    /// The prefix of its prepared transactions. It must be unique on a Postgres server, across databases, because the
    /// names of prepared transactions are.
    pub(crate) name: String,
}

/// The service with the checking accounts, which coordinates transfers to savings accounts.
pub(crate) struct Transfers {
    coordinator: Coordinator,
    checking: PostgresParticipant,
    savings: RemoteParticipant,
    savings_accounts: AccountClient<ClientService<Channel>>,
}

impl Transfers {
    /// Starts the coordinator, which resolves transfers that are in doubt after a crash.
    pub(crate) async fn open(
        stage: &mut Stage,
        identity: &Identity,
        checking: PgPool,
        savings: &Endpoint,
        kill_point: Option<KillPoint>,
    ) -> Result<Self, Failure> {
        let telemetry = stage.service("checking")?;
        let checking = PostgresParticipant::connect("checking", checking).await?;
        let layer = telemetry.client_layer();
        let remote = RemoteParticipant::new("savings", savings, layer.clone());
        let channel = layer.with_target(savings.uri()).layer(savings.connect_lazy());
        let builder = Coordinator::builder(Arc::new(RedbJournal::open(&identity.journal)?), &*identity.name)
            .with_tracer_provider(&telemetry.traces)
            .with_meter_provider(&telemetry.metrics);
        let builder = match kill_point {
            None => builder.with_participant(checking.clone()).with_participant(remote.clone()),
            Some(point) => builder
                .with_participant(KilledAtCommit(checking.clone(), point))
                .with_participant(KilledAtCommit(remote.clone(), point)),
        };
        let coordinator = builder.start().await?;
        Ok(Self { coordinator, checking, savings: remote, savings_accounts: AccountClient::new(channel) })
    }

    /// Moves money atomically. A repeated key returns the outcome of the first call.
    pub(crate) async fn transfer(
        &self,
        key: &str,
        from: &str,
        to: &str,
        cents: i64,
    ) -> Result<Outcome, Failure> {
        let transfer = self.coordinator.begin("transfer", key)?;
        let mut debit = self.checking.begin(&transfer).await?;
        book(debit.connection(), from, -cents).await?;
        // The other service works in its branch of the transaction and keeps it open until `prepare`.
        let branch = transfer.branch("savings")?.to_string();
        let request = PayInRequest { branch, account: to.to_owned(), cents };
        let mut savings = self.savings_accounts.clone();
        savings.pay_in(request).with_context(transfer.context().clone()).await?;
        Ok(transfer.with(debit).with(self.savings.clone()).commit().await?)
    }

    pub(crate) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    pub(crate) async fn close(self) {
        self.coordinator.shutdown(crate::PATIENCE).await;
    }
}

/// Posts an amount, positive or negative, to an account.
async fn book<'e>(database: impl PgExecutor<'e>, account: &str, cents: i64) -> Result<(), sqlx::Error> {
    let posting = sqlx::query("INSERT INTO posting (account, cents) VALUES ($1, $2)");
    posting.bind(account).bind(cents).execute(database).await?;
    Ok(())
}

/// A participant for the demonstration of a crash: the process is killed in `commit`, after the decision is durable.
#[derive(Debug)]
struct KilledAtCommit<P>(P, KillPoint);

#[async_trait]
impl<P: Participant> Participant for KilledAtCommit<P> {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        self.0.prepare(branch).await
    }

    async fn commit(&self, _: &Branch) -> Result<Acknowledgement, BoxError> {
        self.1.reached().await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.0.rollback(branch).await
    }
}
