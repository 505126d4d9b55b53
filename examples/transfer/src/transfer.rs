//! A transfer as a two-phase commit: money leaves a database that is here, and arrives in one that another service has.

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
use otel_saga::two_phase::{Answer, Branch, Coordinator, Outcome, Participant, PostgresParticipant, Vote};
use sqlx::{PgConnection, PgPool};
use tonic::transport::{Channel, Endpoint};
use tower_layer::Layer as _;
use transfer::remote::RemoteParticipant;

use self::pb::PayInRequest;
use self::pb::account_client::AccountClient;
use crate::Failure;
use crate::stage::Stage;
use crate::victim::Death;

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

/// What a coordinator finds again after a crash.
pub(crate) struct Place {
    /// Its journal, in which there are transactions and nothing else.
    pub(crate) journal: PathBuf,
    /// What databases know its transactions by. No other coordinator that uses the same server has it, also in another
    /// database: Postgres knows prepared transactions by names that are unique on the server.
    pub(crate) name: String,
}

/// The bank with the checking accounts, which moves money into savings accounts.
pub(crate) struct Transfers {
    coordinator: Coordinator,
    checking: PostgresParticipant,
    savings: RemoteParticipant,
    savings_accounts: AccountClient<ClientService<Channel>>,
}

impl Transfers {
    /// Starts the coordinator: transfers that are in doubt since a crash are resolved from here on.
    pub(crate) async fn open(
        stage: &mut Stage,
        at: &Place,
        checking: PgPool,
        savings: &Endpoint,
        death: Option<Death>,
    ) -> Result<Self, Failure> {
        let telemetry = stage.service("checking")?;
        let checking = PostgresParticipant::connect("checking", checking).await?;
        let layer = telemetry.client_layer();
        let remote = RemoteParticipant::new("savings", savings, layer.clone());
        let channel = layer.with_target(savings.uri()).layer(savings.connect_lazy());
        let builder = Coordinator::builder(Arc::new(RedbJournal::open(&at.journal)?), &*at.name)
            .with_tracer_provider(&telemetry.traces)
            .with_meter_provider(&telemetry.metrics);
        let builder = match death {
            None => builder.with_participant(checking.clone()).with_participant(remote.clone()),
            Some(death) => builder
                .with_participant(Condemned(checking.clone(), death))
                .with_participant(Condemned(remote.clone(), death)),
        };
        let coordinator = builder.start().await?;
        Ok(Self { coordinator, checking, savings: remote, savings_accounts: AccountClient::new(channel) })
    }

    /// Moves money, or leaves everything as it is. The same key again tells what has become of the first.
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
        // The other service works in its branch of the transaction, and keeps it until it is asked to prepare.
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

/// Adds to an account, or takes from it.
async fn book(database: &mut PgConnection, account: &str, cents: i64) -> Result<(), sqlx::Error> {
    let posting = sqlx::query("INSERT INTO posting (account, cents) VALUES ($1, $2)");
    posting.bind(account).bind(cents).execute(database).await?;
    Ok(())
}

/// For the demonstration of a crash: the process dies when the participant is to be told that it is decided to commit.
#[derive(Debug)]
struct Condemned<P>(P, Death);

#[async_trait]
impl<P: Participant> Participant for Condemned<P> {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        self.0.prepare(branch).await
    }

    async fn commit(&self, _: &Branch) -> Result<Answer, BoxError> {
        self.1.strike().await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Answer, BoxError> {
        self.0.rollback(branch).await
    }
}
