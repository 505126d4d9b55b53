//! Retries: a stock service that refuses once and fails once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use otel_resilience::{EmptyBody, Retry, RetryLayer};
use tower::{Layer, ServiceExt};

use crate::Failure;
use crate::services::{self, Services};

pub(crate) async fn run(services: &Services<'_>) -> Result<(), Failure> {
    let requests = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&requests);
    let item = move || async move {
        match seen.fetch_add(1, Ordering::Relaxed) {
            0 => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            1 => (StatusCode::BAD_GATEWAY, "restarting"),
            _ => (StatusCode::OK, "7"),
        }
    };
    let stock = services.serve("stock", Router::new().route("/items/{id}", get(item))).await?;

    let retry = Retry::new("look up item").with_span(true);
    let retry = retry.with_delays(Duration::from_millis(20), Duration::from_millis(100));
    // The body type of axum cannot be cloned, but an empty body can be sent again.
    let layer = RetryLayer::new(retry).with_clone_request(EmptyBody::default());
    let client = layer.layer(services.client("shop"));
    let response = client.oneshot(services::get(stock, "/items/7")?).await?;
    println!("  {} after {} attempts\n", response.status(), requests.load(Ordering::Relaxed));
    Ok(())
}
