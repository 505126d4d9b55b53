//! `Health` as an axum router (feature `axum`).

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Health, HealthReport};

impl Health {
    /// Returns a router for `GET /livez` and `GET /readyz`, which respond with 200 or 503 and the report as JSON.
    /// Merge it with the application's routes outside of instrumented ones.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (live, ready) = (self.clone(), self.clone());
        Router::new()
            .route("/livez", get(move || async move { response(&live.live()) }))
            .route("/readyz", get(move || async move { response(&ready.ready().await) }))
    }
}

fn response(report: &HealthReport) -> Response {
    let status = if report.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Serialization of strings and enums cannot fail.
    let body = serde_json::to_string(report).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
