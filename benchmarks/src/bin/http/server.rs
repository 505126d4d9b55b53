//! The server side: the same axum service under each candidate's layer.

use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http_body::Body as _;
use tower_layer::Identity;
use tower_service::Service as _;

use crate::cell::{Candidate, Variant};

/// Creates the service with the candidate's layer; returns `None` if this build does not include the candidate.
pub(crate) fn of(candidate: Candidate, variant: Variant) -> Option<Router> {
    let app = Router::new().route("/users/{id}", get(|| async { "Ada" }));
    let app = match candidate {
        Candidate::Bare => app,
        Candidate::PassThrough => app.layer(Identity::new()),
        Candidate::Ours => app.layer(otel_http::ServerLayer::new()),
        _ => compared(app, candidate, variant)?,
    };
    // `axum::serve` and `into_make_service` do the same; without it axum applies the layer for each request.
    Some(app.with_state(()))
}

#[cfg(feature = "comparison")]
fn compared(app: Router, candidate: Candidate, variant: Variant) -> Option<Router> {
    Some(match candidate {
        Candidate::Floor => app.layer(crate::floor::FloorLayer::server()),
        Candidate::TowerOtel => {
            let metrics = tower_otel::metrics::HttpLayer::server(&opentelemetry::global::meter("tower-otel"));
            match variant {
                Variant::MetricsOnly => app.layer(metrics),
                _ => app.layer((tower_otel::trace::HttpLayer::server(tracing::Level::INFO), metrics)),
            }
        }
        Candidate::InstrumentationTower => {
            app.layer(opentelemetry_instrumentation_tower::http::server::Layer::new())
        }
        Candidate::AxumTracing => {
            let layer = axum_tracing_opentelemetry::middleware::OtelAxumLayer::default();
            app.layer(layer.try_extract_client_ip(variant == Variant::Peer))
        }
        // Its access log is an event, which the other candidates do not record.
        Candidate::Oxtel => app.layer(oxtel_tower::HttpServerLayer::new().with_access_log(false)),
        _ => return None,
    })
}

#[cfg(not(feature = "comparison"))]
fn compared(_app: Router, _candidate: Candidate, _variant: Variant) -> Option<Router> {
    None
}

/// Serves one request as a server does: calls the service, reads the body to its end and drops everything.
pub(crate) fn serve(app: &mut Router, request: Request<Body>) {
    let response = ready(app.call(request));
    let Ok(response) = response;
    assert!(response.status().is_success());
    let mut body = pin!(response.into_body());
    let mut task = TaskContext::from_waker(Waker::noop());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut task) {
        drop(frame);
    }
}

/// Returns the output of a future that is ready at the first poll.
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the future is always ready"),
    }
}
