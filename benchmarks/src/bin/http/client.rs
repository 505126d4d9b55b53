//! The client side: a service that responds immediately, under each candidate's layer.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use benchmarks::measure::Mode;
use benchmarks::sdk;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::cell::{Candidate, Installed, Variant};
use crate::{check, requests, server};

/// The headers that the layer has sent, kept while a check runs.
static SENT: Mutex<Option<HeaderMap>> = Mutex::new(None);

pub(crate) fn sent() -> Option<HeaderMap> {
    SENT.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[derive(Clone, Debug)]
struct Answer;

impl Service<Request<Full<Bytes>>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        if sdk::is_keeping() {
            *SENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.headers().clone());
        }
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"Ada")))))
    }
}

/// Measures a candidate; returns `None` if this build does not include it.
pub(crate) fn measure(
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    installed: &Installed,
) -> Option<()> {
    match candidate {
        Candidate::Bare => run(Answer, candidate, variant, mode, installed),
        Candidate::Ours => {
            run(otel_http::ClientLayer::new().layer(Answer), candidate, variant, mode, installed);
        }
        _ => return compared(candidate, variant, mode, installed),
    }
    Some(())
}

/// Measures calls of so many hosts in turn, each of which is known before the measurement.
#[cfg(feature = "comparison")]
pub(crate) fn hosts(candidate: Candidate, variant: Variant, mode: Mode, hosts: usize) -> Option<()> {
    let installed = crate::cell::install(crate::cell::Side::Client, candidate, variant);
    let uris: Vec<http::Uri> = (0..hosts)
        .map(|host| format!("http://host-{host}.example.com:8080/users/42").parse().expect("it is valid"))
        .collect();
    match candidate {
        Candidate::Bare => in_turn(Answer, candidate, variant, mode, &installed, &uris),
        Candidate::Ours => {
            let service = otel_http::ClientLayer::new().layer(Answer);
            in_turn(service, candidate, variant, mode, &installed, &uris);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(feature = "comparison")]
fn in_turn<S, B>(
    mut service: S,
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    installed: &Installed,
    uris: &[http::Uri],
) where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    check::client(candidate, variant, installed, || call(&mut service, requests::client()));
    let request = |uri: &http::Uri| {
        let mut request = requests::client();
        *request.uri_mut() = uri.clone();
        request
    };
    for uri in uris {
        call(&mut service, request(uri));
    }
    let mut next = uris.iter().cycle();
    let prepare = || request(next.next().expect("the hosts are repeated"));
    benchmarks::measure::measure(mode, prepare, |request| call(&mut service, request));
}

#[cfg(feature = "comparison")]
fn compared(candidate: Candidate, variant: Variant, mode: Mode, installed: &Installed) -> Option<()> {
    match candidate {
        Candidate::Floor => {
            run(crate::floor::FloorLayer::client().layer(Answer), candidate, variant, mode, installed);
        }
        Candidate::TowerOtel => {
            let metrics = tower_otel::metrics::HttpLayer::client(&opentelemetry::global::meter("tower-otel"));
            let traces = tower_otel::trace::HttpLayer::client(tracing::Level::INFO);
            match variant {
                Variant::MetricsOnly => run(metrics.layer(Answer), candidate, variant, mode, installed),
                _ => run((traces, metrics).layer(Answer), candidate, variant, mode, installed),
            }
        }
        Candidate::Oxtel => {
            run(oxtel_tower::HttpClientLayer::new().layer(Answer), candidate, variant, mode, installed);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(not(feature = "comparison"))]
fn compared(_: Candidate, _: Variant, _: Mode, _: &Installed) -> Option<()> {
    None
}

fn run<S, B>(mut service: S, candidate: Candidate, variant: Variant, mode: Mode, installed: &Installed)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    check::client(candidate, variant, installed, || call(&mut service, requests::client()));
    benchmarks::measure::measure(mode, requests::client, |request| call(&mut service, request));
}

/// Makes one call as an application does: sends the request, reads the response to its end and drops everything.
fn call<S, B>(service: &mut S, request: Request<Full<Bytes>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let Ok(response) = server::ready(service.call(request));
    assert!(response.status().is_success());
    let mut body = pin!(response.into_body());
    let mut task = TaskContext::from_waker(Waker::noop());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut task) {
        drop(frame);
    }
}
