//! The services that take part: the stock, the bank and the carrier. Each has a file and telemetry of its own, and would be
//! a process of its own behind HTTP or gRPC; what a saga asks of it would be the same.

use std::path::Path;
use std::sync::Arc;

use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use otel_saga::StepError;
use redb::Error;
use tokio::task::spawn_blocking;

use super::store::{Amounts, Answer, Store};
use crate::Failure;
use crate::stage::Stage;

/// How a request to a service went wrong.
pub(crate) enum Trouble {
    /// The service says no, and means it.
    Refused(String),
    /// Nobody knows whether it was done.
    Unknown(Error),
}

impl From<Trouble> for StepError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(why) => Self::refused(why),
            Trouble::Unknown(error) => Self::uncertain(error),
        }
    }
}

/// Pieces of what is sold.
pub(crate) struct Stock(Service);

impl Stock {
    pub(crate) fn open(stage: &mut Stage, folder: &Path) -> Result<Self, Failure> {
        Ok(Self(Service::open(stage, folder, "stock", &[("teapot", 10)])?))
    }

    /// Puts one aside, and tells how many are left.
    pub(crate) async fn reserve(&self, key: &str, item: &str) -> Result<i64, Trouble> {
        let item = item.to_owned();
        let take = move |stock: &mut Amounts<'_>| {
            if stock.get(&item)? < 1 {
                return Ok(Answer::Refused(format!("no {item} is left")));
            }
            Ok(Answer::Done(stock.add(&item, -1)?))
        };
        self.0.ask("reserve one", key, take).await
    }

    pub(crate) async fn release(&self, key: &str, item: &str) -> Result<(), Trouble> {
        let item = item.to_owned();
        self.0.take_back("release it", key, move |stock| stock.add(&item, 1).map(drop)).await
    }
}

/// Accounts, in cents.
pub(crate) struct Bank(Service);

impl Bank {
    pub(crate) fn open(stage: &mut Stage, folder: &Path) -> Result<Self, Failure> {
        let accounts = [("ada", 10_000), ("grace", 500), ("edsger", 10_000)];
        Ok(Self(Service::open(stage, folder, "bank", &accounts)?))
    }

    /// Takes money, and tells what is left.
    pub(crate) async fn charge(&self, key: &str, customer: &str, cents: i64) -> Result<i64, Trouble> {
        let customer = customer.to_owned();
        let charge = move |accounts: &mut Amounts<'_>| {
            if accounts.get(&customer)? < cents {
                return Ok(Answer::Refused("not enough money".to_owned()));
            }
            Ok(Answer::Done(accounts.add(&customer, -cents)?))
        };
        self.0.ask("charge the account", key, charge).await
    }
}

/// Parcels, numbered.
pub(crate) struct Carrier(Service);

impl Carrier {
    pub(crate) fn open(stage: &mut Stage, folder: &Path) -> Result<Self, Failure> {
        Ok(Self(Service::open(stage, folder, "carrier", &[])?))
    }

    /// Takes a parcel, and gives it a number.
    pub(crate) async fn take_parcel(&self, key: &str) -> Result<i64, Trouble> {
        self.0.ask("take the parcel", key, |parcels| Ok(Answer::Done(parcels.add("parcels", 1)?))).await
    }
}

/// What all services are made of: where one keeps its things, and where it records.
struct Service {
    store: Arc<Store>,
    tracer: SdkTracer,
}

impl Service {
    fn open(
        stage: &mut Stage,
        folder: &Path,
        name: &'static str,
        amounts: &[(&str, i64)],
    ) -> Result<Self, Failure> {
        let store = Arc::new(Store::open(&folder.join(name), amounts)?);
        Ok(Self { store, tracer: stage.service(name)?.tracer })
    }

    async fn ask(
        &self,
        what: &'static str,
        key: &str,
        act: impl FnOnce(&mut Amounts<'_>) -> Result<Answer, Error> + Send + 'static,
    ) -> Result<i64, Trouble> {
        self.serve(what, key, |store, key| {
            let (answer, again) = store.once(key, act).map_err(Trouble::Unknown)?;
            if again {
                Context::current().span().set_attribute(KeyValue::new("request.repeated", true));
            }
            match answer {
                Answer::Done(amount) => Ok(amount),
                Answer::Refused(why) => Err(Trouble::Refused(why)),
                Answer::TakenBack => Err(Trouble::Refused("it was taken back before it came".to_owned())),
            }
        })
        .await
    }

    async fn take_back(
        &self,
        what: &'static str,
        key: &str,
        undo: impl FnOnce(&mut Amounts<'_>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Trouble> {
        self.serve(what, key, |store, key| store.take_back(key, undo).map_err(Trouble::Unknown)).await
    }

    /// A request: its span, and its work on a thread that may block.
    async fn serve<T: Send + 'static>(
        &self,
        what: &'static str,
        key: &str,
        work: impl FnOnce(&Store, &str) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let span = self.tracer.span_builder(what).with_kind(SpanKind::Server);
        let span = span.with_attributes([KeyValue::new("request.key", key.to_owned())]);
        // The parent is the current span, the saga's attempt; between two processes it would travel in headers.
        let context = Context::current_with_span(span.start(&self.tracer));
        let (store, key, there) = (Arc::clone(&self.store), key.to_owned(), context.clone());
        let work = spawn_blocking(move || {
            let _attached = there.attach();
            work(&store, &key)
        });
        let done = work.await.unwrap_or_else(|panicked| Err(Trouble::Unknown(Error::Io(panicked.into()))));
        match &done {
            Ok(_) => {}
            Err(Trouble::Refused(why)) => context.span().set_status(Status::error(why.clone())),
            Err(Trouble::Unknown(error)) => context.span().set_status(Status::error(error.to_string())),
        }
        context.span().end();
        done
    }
}
