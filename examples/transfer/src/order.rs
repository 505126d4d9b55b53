//! An order as a saga: reserve, pay, ship. Each step is a plain async function.

pub(crate) mod demo;
mod services;
mod shop;
mod store;

use std::time::Duration;

use otel_saga::{DefinitionError, RetryPolicy, Saga, StepContext, StepError};
use serde::{Deserialize, Serialize};

use self::services::{Bank, Carrier, Stock};
use crate::victim::KillPoint;

/// An order, the input of the saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) customer: String,
    pub(crate) item: String,
    pub(crate) cents: i64,
}

/// The state that all steps share.
pub(crate) struct Shop {
    pub(crate) stock: Stock,
    pub(crate) bank: Bank,
    pub(crate) carrier: Carrier,
    /// The point at which the demonstration kills the process.
    pub(crate) kill_point: Option<KillPoint>,
}

type Cx = StepContext<Shop>;

/// Defines the saga. Steps before the payment can be undone; the payment is the pivot; steps after it are retried until
/// they succeed.
pub(crate) fn saga() -> Result<Saga<Shop, Order>, DefinitionError> {
    let patient = RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(30));
    let mut saga = Saga::builder("order", 1);
    let reserved = saga.step("reserve", (), reserve).undo(release);
    let paid = saga.step("pay", reserved, pay).retry(patient).timeout(Duration::from_secs(30)).pivot();
    saga.step("ship", paid, ship).forward();
    saga.build()
}

async fn reserve(cx: Cx, order: Order, (): ()) -> Result<i64, StepError> {
    Ok(cx.state().stock.reserve(&cx.idempotency_key(), &order.item).await?)
}

/// Undoes by the action's key, so that the stock can handle a reservation that was made, was not made, or arrives
/// later.
async fn release(cx: Cx, order: Order, (): (), _: Option<i64>) -> Result<(), StepError> {
    Ok(cx.state().stock.release(&cx.action_key(), &order.item).await?)
}

async fn pay(cx: Cx, order: Order, _: i64) -> Result<i64, StepError> {
    let shop = cx.state();
    let left = shop.bank.charge(&cx.idempotency_key(), &order.customer, order.cents).await?;
    if let Some(point) = &shop.kill_point {
        // The account is charged, and the journal has not recorded it.
        point.reached::<()>().await;
    }
    Ok(left)
}

async fn ship(cx: Cx, _: Order, _: i64) -> Result<i64, StepError> {
    Ok(cx.state().carrier.take_parcel(&cx.idempotency_key()).await?)
}
