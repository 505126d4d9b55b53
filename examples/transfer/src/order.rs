//! An order as a saga: reserve, pay, ship. Each step is a plain async function.

pub(crate) mod demo;
mod services;
mod shop;
mod store;

use std::time::Duration;

use otel_saga::{DefinitionError, RetryPolicy, Saga, StepContext, StepError};
use serde::{Deserialize, Serialize};

use self::services::{Bank, Carrier, Stock};
use crate::victim::Death;

/// What a customer wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) customer: String,
    pub(crate) item: String,
    pub(crate) cents: i64,
}

/// What all steps share.
pub(crate) struct Shop {
    pub(crate) stock: Stock,
    pub(crate) bank: Bank,
    pub(crate) carrier: Carrier,
    /// For the demonstration of a crash; a shop has none.
    pub(crate) death: Option<Death>,
}

type Cx = StepContext<Shop>;

/// Until the payment each step can be undone; the payment decides; after it there is only forward.
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

/// By the action's key: whether the reservation was made, was not, or is still on its way, the stock can tell.
async fn release(cx: Cx, order: Order, _: Option<i64>) -> Result<(), StepError> {
    Ok(cx.state().stock.release(&cx.action_key(), &order.item).await?)
}

async fn pay(cx: Cx, order: Order, _: i64) -> Result<i64, StepError> {
    let shop = cx.state();
    let left = shop.bank.charge(&cx.idempotency_key(), &order.customer, order.cents).await?;
    if let Some(death) = &shop.death {
        // The money is taken, and the journal does not know it yet.
        death.strike::<()>().await;
    }
    Ok(left)
}

async fn ship(cx: Cx, _: Order, _: i64) -> Result<i64, StepError> {
    Ok(cx.state().carrier.take_parcel(&cx.idempotency_key()).await?)
}
