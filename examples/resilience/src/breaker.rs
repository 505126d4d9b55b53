//! A circuit breaker: a payment service that fails for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use otel_resilience::{CircuitBreakerLayer, CircuitState, ResilienceError};
use otel_tasks::in_span;
use tower::{Layer, ServiceExt};

use crate::Failure;
use crate::services::{self, Client, Services};

/// The time in which an open breaker refuses all calls.
const OPEN: Duration = Duration::from_millis(200);

pub(crate) async fn run(services: &Services<'_>) -> Result<(), Failure> {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let pay = move || async move {
        if down.load(Ordering::Relaxed) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    };
    let payments = services.serve("payments", Router::new().route("/pay", get(pay))).await?;

    // A call that hangs is a failure too: the time-out is inside of the breaker.
    let breaker = CircuitBreakerLayer::new("payments", Duration::from_secs(1)).with_window(3, 3);
    let breaker = breaker.with_half_open_calls(1).with_open_time(OPEN);
    let client = Client::new(breaker.layer(services.client("shop")));
    let pay = async || -> Result<&str, Failure> {
        match client.clone().oneshot(services::get(payments, "/pay")?).await {
            Ok(response) if response.status().is_success() => Ok("paid"),
            Ok(_) => Ok("failed"),
            Err(error)
                if matches!(ResilienceError::find(&*error), Some(ResilienceError::CircuitOpen { .. })) =>
            {
                Ok("refused")
            }
            Err(error) => Err(error),
        }
    };
    let mut results = Vec::new();
    in_span("pay orders", async {
        for _ in 0..5 {
            results.push(pay().await?);
        }
        is_down.store(false, Ordering::Relaxed);
        tokio::time::sleep(OPEN).await;
        results.push(pay().await?);
        Ok::<_, Failure>(())
    })
    .await?;
    let state = if breaker.state() == CircuitState::Closed { "closed" } else { "not closed" };
    println!("  {}; the breaker is {state}\n", results.join(", "));
    Ok(())
}
