//! A service: responds to `GET /hop/{n}`, after a request to the next service where there is one.
//!
//! `mesh-service NAME ADDRESS [URL]`: the name of the service, the address to listen at, and the next service.

#![expect(clippy::print_stdout, reason = "the program that starts the service reads it")]

use std::env;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use otel_telemetry::Telemetry;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tokio::net::TcpListener;

#[derive(Clone)]
struct Next {
    url: Option<String>,
    client: ClientWithMiddleware,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().context("the first argument is the name of the service")?;
    let address = arguments.next().context("the second argument is the address to listen at")?;
    let telemetry = Telemetry::builder().with_service_name(name).init()?;
    let client = ClientBuilder::new(reqwest::Client::new()).with(otel_http::ClientLayer::new()).build();
    let app = Router::new()
        .route("/hop/{n}", get(hop))
        .with_state(Next { url: arguments.next(), client })
        .layer(otel_http::ServerLayer::new());
    let listener = TcpListener::bind(address).await?;
    println!("ready");
    axum::serve(listener, app).with_graceful_shutdown(telemetry.shutdown_on_signal()).await?;
    telemetry.shutdown().await;
    Ok(())
}

async fn hop(State(next): State<Next>, Path(n): Path<u32>) -> Result<String, StatusCode> {
    let Some(url) = &next.url else { return Ok(n.to_string()) };
    let response = next.client.get(format!("{url}/hop/{n}")).send().await;
    let response = response.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let response = response.error_for_status().map_err(|_| StatusCode::BAD_GATEWAY)?;
    response.text().await.map_err(|_| StatusCode::BAD_GATEWAY)
}
