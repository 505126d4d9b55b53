//! The participating services: the stock, the bank and the carrier. Each has a separate database file and separate
//! telemetry. In production each would be a process behind HTTP or gRPC, with the same requirements.

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

/// The error of a request to a service.
pub(crate) enum RequestError {
    /// The service has refused the request; retrying does not help.
    Refused(String),
    /// The outcome is unknown.
    Unknown(Error),
}

impl From<RequestError> for StepError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(reason) => Self::refused(reason),
            RequestError::Unknown(error) => Self::uncertain(error),
        }
    }
}

/// The stock of items.
pub(crate) struct Stock(Service);

impl Stock {
    pub(crate) fn open(stage: &mut Stage, folder: &Path) -> Result<Self, Failure> {
        Ok(Self(Service::open(stage, folder, "stock", &[("teapot", 10)])?))
    }

    /// Reserves one item and returns the number of remaining ones.
    pub(crate) async fn reserve(&self, key: &str, item: &str) -> Result<i64, RequestError> {
        let item = item.to_owned();
        let take = move |stock: &mut Amounts<'_>| {
            if stock.get(&item)? < 1 {
                return Ok(Answer::Refused(format!("no {item} in stock")));
            }
            Ok(Answer::Done(stock.add(&item, -1)?))
        };
        self.0.request("reserve one", key, take).await
    }

    pub(crate) async fn release(&self, key: &str, item: &str) -> Result<(), RequestError> {
        let item = item.to_owned();
        self.0.undo("release it", key, move |stock| stock.add(&item, 1).map(drop)).await
    }
}

/// The bank, with accounts in cents.
pub(crate) struct Bank(Service);

impl Bank {
    pub(crate) fn open(stage: &mut Stage, folder: &Path) -> Result<Self, Failure> {
        let accounts = [("ada", 10_000), ("grace", 500), ("edsger", 10_000)];
        Ok(Self(Service::open(stage, folder, "bank", &accounts)?))
    }

    /// Charges an account and returns its balance.
    pub(crate) async fn charge(&self, key: &str, customer: &str, cents: i64) -> Result<i64, RequestError> {
        let customer = customer.to_owned();
        let charge = move |accounts: &mut Amounts<'_>| {
            if accounts.get(&customer)? < cents {
                return Ok(Answer::Refused("not enough money".to_owned()));
            }
            Ok(Answer::Done(accounts.add(&customer, -cents)?))
        };
        self.0.request("charge the account", key, charge).await
    }
}

/// The carrier, which numbers its parcels.
pub(crate) struct Carrier(Service);

impl Carrier {
    pub(crate) fn open(stage: &mut Stage, folder: &Path) -> Result<Self, Failure> {
        Ok(Self(Service::open(stage, folder, "carrier", &[])?))
    }

    /// Accepts a parcel and returns its number.
    pub(crate) async fn take_parcel(&self, key: &str) -> Result<i64, RequestError> {
        self.0.request("take the parcel", key, |parcels| Ok(Answer::Done(parcels.add("parcels", 1)?))).await
    }
}

/// The common parts of all services: the store and the tracer.
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

    async fn request(
        &self,
        operation: &'static str,
        key: &str,
        act: impl FnOnce(&mut Amounts<'_>) -> Result<Answer, Error> + Send + 'static,
    ) -> Result<i64, RequestError> {
        self.serve(operation, key, |store, key| {
            let (answer, repeated) = store.once(key, act).map_err(RequestError::Unknown)?;
            if repeated {
                Context::current().span().set_attribute(KeyValue::new("request.repeated", true));
            }
            match answer {
                Answer::Done(amount) => Ok(amount),
                Answer::Refused(reason) => Err(RequestError::Refused(reason)),
                Answer::Undone => {
                    Err(RequestError::Refused("the request was undone before it arrived".to_owned()))
                }
            }
        })
        .await
    }

    async fn undo(
        &self,
        operation: &'static str,
        key: &str,
        undo: impl FnOnce(&mut Amounts<'_>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), RequestError> {
        self.serve(operation, key, |store, key| store.undo(key, undo).map_err(RequestError::Unknown)).await
    }

    /// Handles a request: records its span and runs the work on a blocking thread.
    async fn serve<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Store, &str) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let span = self.tracer.span_builder(operation).with_kind(SpanKind::Server);
        let span = span.with_attributes([KeyValue::new("request.key", key.to_owned())]);
        // The parent is the current span, which is the saga's attempt. Between processes, headers would carry it.
        let context = Context::current_with_span(span.start(&self.tracer));
        let (store, key, attached) = (Arc::clone(&self.store), key.to_owned(), context.clone());
        let work = spawn_blocking(move || {
            let _guard = attached.attach();
            work(&store, &key)
        });
        let result = work.await.unwrap_or_else(|panic| Err(RequestError::Unknown(Error::Io(panic.into()))));
        match &result {
            Ok(_) => {}
            Err(RequestError::Refused(reason)) => context.span().set_status(Status::error(reason.clone())),
            Err(RequestError::Unknown(error)) => context.span().set_status(Status::error(error.to_string())),
        }
        context.span().end();
        result
    }
}
