//! A running shop, with its journal and its services in one folder, and the request that starts a saga.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry_sdk::trace::SdkTracer;
use otel_saga::journal::{RedbJournal, Status};
use otel_saga::{Runtime, Saga};
use tokio::time::timeout;

use super::services::{Bank, Carrier, Stock};
use super::{Order, Shop, saga};
use crate::stage::Stage;
use crate::victim::KillPoint;
use crate::{Failure, PATIENCE};

/// A running shop.
pub(crate) struct OpenShop {
    saga: Saga<Shop, Order>,
    runtime: Runtime<Shop>,
    tracer: SdkTracer,
}

impl OpenShop {
    /// Starts the shop. Unfinished sagas in the journal continue, also those of another process.
    pub(crate) fn open(
        stage: &mut Stage,
        folder: &Path,
        kill_point: Option<KillPoint>,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let shop = Shop {
            stock: Stock::open(stage, folder)?,
            bank: Bank::open(stage, folder)?,
            carrier: Carrier::open(stage, folder)?,
            kill_point,
        };
        let saga = saga()?;
        let journal = Arc::new(RedbJournal::open(folder.join("sagas"))?);
        let telemetry = stage.service("shop")?;
        let runtime = Runtime::builder(journal, shop)
            .with_saga(&saga)
            .with_tracer_provider(&telemetry.traces)
            .with_meter_provider(&telemetry.metrics)
            .start();
        Ok(Self { saga, runtime, tracer: telemetry.tracer })
    }

    /// Handles a customer's request. Returns as soon as the order is in the journal.
    pub(crate) async fn order(&self, number: &str, customer: &str) -> Result<String, Failure> {
        let order = Order { customer: customer.to_owned(), item: "teapot".to_owned(), cents: 1999 };
        let request = self.tracer.span_builder("POST /orders").with_kind(SpanKind::Server);
        let context = Context::current_with_span(request.start(&self.tracer));
        let started = self.runtime.start(&self.saga, number, order).with_context(context.clone()).await;
        context.span().end();
        Ok(started?)
    }

    /// Waits until the saga has ended.
    pub(crate) async fn end_of(&self, id: &str) -> Result<Status, Failure> {
        let status = timeout(PATIENCE, self.runtime.wait(id)).await;
        Ok(status.map_err(|_| format!("saga {id} did not end within {PATIENCE:?}"))??)
    }

    pub(crate) async fn close(self) {
        // The timeout is safe: an unfinished saga would continue at the next start.
        self.runtime.shutdown(Duration::from_secs(10)).await;
    }
}
