//! `Health` as an axum router (feature `axum`).

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Health, HealthReport};

impl Health {
    /// A router that answers `GET /livez` and `GET /readyz` with 200 or 503 and the report as JSON. Merge it next to the
    /// application's routes, outside of what is instrumented.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (live, ready) = (self.clone(), self.clone());
        Router::new()
            .route("/livez", get(move || async move { response(&live.live()) }))
            .route("/readyz", get(move || async move { response(&ready.ready().await) }))
    }
}

fn response(report: &HealthReport) -> Response {
    let status = if report.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Strings and an enum always serialise.
    let body = serde_json::to_string(report).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
