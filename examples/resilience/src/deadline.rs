//! A deadline: three services, the last of which would take much too long.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use otel_resilience::{Deadline, DeadlineHeader, DeadlineLayer, DeadlineServerLayer};
use otel_tasks::in_span;
use tower::{Layer, ServiceExt};

use crate::Failure;
use crate::services::{self, Client, Services};

fn header() -> DeadlineHeader {
    DeadlineHeader::milliseconds(HeaderName::from_static("x-timeout-ms"))
}

/// A client that sends the time that is left. It keeps some for the way back, so that the server responds before the client ends the
/// call.
fn client(services: &Services<'_>, name: &'static str) -> Client {
    let deadline = DeadlineLayer::new().with_header(header()).with_reserve(Duration::from_millis(250));
    Client::new(deadline.layer(services.client(name)))
}

/// A service that works for a while, and then asks the next one.
async fn serve(
    services: &Services<'_>,
    name: &'static str,
    work: Duration,
    next: Option<SocketAddr>,
) -> Result<SocketAddr, Failure> {
    let handler = async move |State(client): State<Client>| {
        tokio::time::sleep(work).await;
        let Some(next) = next else { return StatusCode::OK };
        let Ok(request) = services::get(next, "/parts") else { return StatusCode::BAD_REQUEST };
        client.oneshot(request).await.map_or(StatusCode::BAD_GATEWAY, |response| response.status())
    };
    let app = Router::new().route("/parts", get(handler)).with_state(client(services, name));
    services.serve(name, app.layer(DeadlineServerLayer::new(header()))).await
}

pub(crate) async fn run(services: &Services<'_>) -> Result<(), Failure> {
    let work = Duration::from_millis(50);
    let supplier = serve(services, "supplier", Duration::from_secs(60), None).await?;
    let warehouse = serve(services, "warehouse", work, Some(supplier)).await?;
    let stock = serve(services, "stock", work, Some(warehouse)).await?;

    let client = client(services, "shop");
    let request = services::get(stock, "/parts")?;
    let result = in_span("find parts", async {
        let context = Deadline::after(Duration::from_secs(2)).in_context(&Context::current());
        client.oneshot(request).with_context(context).await
    });
    println!("  {} in place of a minute\n", result.await?.status());
    Ok(())
}
