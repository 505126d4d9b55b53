//! The program: a server with two routes that forward calls as W3C's validation suite asks, one through hyper-util and
//! one through reqwest.
//!
//! Follows <https://github.com/w3c/trace-context/blob/main/test/README.md>, "Implement Test Service".

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its terminal")]

mod calls;

use std::process::ExitCode;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_propagation::CompositePropagator;

use crate::calls::{Call, HyperClient, ReqwestClient};

const HELP: &str = "usage: w3c-service [--port PORT]";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = match &arguments[..] {
        [] => Some(0),
        [option, port] if option == "--port" => port.parse().ok(),
        _ => None,
    };
    let Some(port) = port else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match serve(port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: w3c-service failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16) -> std::io::Result<()> {
    // A real SDK, so that each hop has a span of its own; no exporter, because the suite looks at headers alone.
    opentelemetry::global::set_tracer_provider(SdkTracerProvider::builder().build());
    otel_propagation::set_global(CompositePropagator::default());
    // Level 2 of Trace Context has the flag `random`: the SDK's generator makes random ids.
    otel_propagation::declare_random_trace_ids(true);

    let app = Router::new()
        .route("/hyper", post(through_hyper))
        .with_state(HyperClient::new())
        .route("/reqwest", post(through_reqwest))
        .with_state(ReqwestClient::new())
        .layer(otel_http::ServerLayer::new());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

async fn through_hyper(
    State(client): State<HyperClient>,
    axum::Json(calls): axum::Json<Vec<Call>>,
) -> (StatusCode, String) {
    for call in &calls {
        if let Err(error) = client.send(call).await {
            return failure(call, &error);
        }
    }
    (StatusCode::OK, String::new())
}

async fn through_reqwest(
    State(client): State<ReqwestClient>,
    axum::Json(calls): axum::Json<Vec<Call>>,
) -> (StatusCode, String) {
    for call in &calls {
        if let Err(error) = client.send(call).await {
            return failure(call, &error);
        }
    }
    (StatusCode::OK, String::new())
}

fn failure(call: &Call, error: &calls::CallError) -> (StatusCode, String) {
    (StatusCode::BAD_GATEWAY, format!("call failed: {}: {error}", call.url))
}
