//! The server layer as something grows: known routes, series of a route, responses in flight, members of headers.

pub(crate) mod report;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use benchmarks::measure::Mode;
use benchmarks::{allocations, named};
use http::{HeaderValue, Request, StatusCode};
use tower_service::Service as _;

use crate::cell::{Candidate, Side, Variant, install};
use crate::{check, requests, server};

/// The number of responses in flight.
const IN_FLIGHT: usize = 100_000;

/// The status codes of the route with several series.
const STATUSES: std::ops::Range<u16> = 200..233;

named! {
    /// The measured case.
    pub(crate) Case {
        Routes10 = "routes-10",
        Routes1000 = "routes-1000",
        Routes10000 = "routes-10000",
        SeriesFirst = "series-1",
        SeriesLast = "series-33",
        TraceState0 = "tracestate-0",
        TraceState2 = "tracestate-2",
        Baggage0 = "baggage-0",
        Baggage1 = "baggage-1",
        Baggage2 = "baggage-2",
        Baggage4 = "baggage-4",
        Headers20 = "headers-20",
        Headers100 = "headers-100",
        Hosts1 = "hosts-1",
        Hosts100 = "hosts-100",
        Hosts1000 = "hosts-1000",
        InFlightSampled = "in-flight-sampled",
        InFlightUnsampled = "in-flight-unsampled",
        InFlightDeclared = "in-flight-declared",
    }
}

impl Case {
    fn routes(self) -> usize {
        match self {
            Self::Routes10 => 10,
            Self::Routes1000 => 1_000,
            Self::Routes10000 => 10_000,
            _ => 1,
        }
    }

    /// The number of further headers of a request.
    fn headers(self) -> usize {
        match self {
            Self::Headers20 => 20,
            Self::Headers100 => 100,
            _ => 0,
        }
    }

    /// The number of hosts that a client calls; 0 for a server.
    fn hosts(self) -> usize {
        match self {
            Self::Hosts1 => 1,
            Self::Hosts100 => 100,
            Self::Hosts1000 => 1_000,
            _ => 0,
        }
    }

    /// The headers of the requests without those that grow, and the installed providers.
    fn variant(self) -> Variant {
        match self {
            Self::TraceState0 | Self::TraceState2 | Self::InFlightSampled => Variant::Sampled,
            Self::Baggage0 | Self::Baggage1 | Self::Baggage2 | Self::Baggage4 => Variant::Baggage,
            Self::InFlightDeclared => Variant::Declared,
            _ => Variant::Unsampled,
        }
    }

    /// The header that the requests have in addition.
    fn header(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::TraceState2 => Some(("tracestate", requests::TRACESTATE)),
            Self::Baggage1 => Some(("baggage", "userId=alice")),
            Self::Baggage2 => Some(("baggage", requests::BAGGAGE)),
            Self::Baggage4 => Some(("baggage", "userId=alice,tenant=acme%20corp,region=eu,tier=gold")),
            _ => None,
        }
    }

    pub(crate) fn is_in_flight(self) -> bool {
        matches!(self, Self::InFlightSampled | Self::InFlightUnsampled | Self::InFlightDeclared)
    }

    fn request(self, path: &str) -> Request<Body> {
        let mut request = requests::server(self.variant());
        *request.uri_mut() = path.parse().expect("the path is valid");
        request.headers_mut().remove("baggage");
        if let Some((name, value)) = self.header() {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        for number in 0..self.headers() {
            let name = http::HeaderName::try_from(format!("x-header-{number}")).expect("the name is valid");
            request.headers_mut().insert(name, HeaderValue::from_static("value"));
        }
        request
    }
}

/// Measures one case with the bare service or our layer.
pub(crate) fn measure(candidate: &str, case: &str, mode: Mode) -> Option<()> {
    let (candidate, case) = (Candidate::parse(candidate)?, Case::parse(case)?);
    if case.hosts() > 0 {
        return crate::client::hosts(candidate, case.variant(), mode, case.hosts());
    }
    let installed = install(Side::Server, candidate, case.variant());
    let mut app = service(candidate, case.routes())?;
    let paths = paths(case);
    check::growth(candidate, case.variant(), &installed, || {
        server::serve(&mut app, case.request(&paths[0]));
    });
    // Every route, and every series, is known before the measurement.
    for status in STATUSES.filter(|_| matches!(case, Case::SeriesFirst | Case::SeriesLast)) {
        server::serve(&mut app, case.request(&format!("/0/{status}")));
    }
    for path in &paths {
        server::serve(&mut app, case.request(path));
    }
    if case.is_in_flight() {
        in_flight(&mut app, || case.request(&paths[0]));
        return Some(());
    }
    let mut next = paths.iter().cycle();
    let request = || case.request(next.next().expect("paths are repeated"));
    benchmarks::measure::measure(mode, request, |request| server::serve(&mut app, request));
    Some(())
}

fn service(candidate: Candidate, routes: usize) -> Option<Router> {
    let respond = async |Path(status): Path<u16>| (StatusCode::from_u16(status).unwrap_or_default(), "Ada");
    let mut app = Router::new();
    for route in 0..routes {
        app = app.route(&format!("/{route}/{{status}}"), get(respond));
    }
    let app = match candidate {
        Candidate::Bare => app,
        Candidate::Ours => app.layer(otel_http::ServerLayer::new().with_max_cached_routes(routes)),
        _ => return None,
    };
    Some(app.with_state(()))
}

/// The paths of the measured requests, one for each route.
fn paths(case: Case) -> Vec<String> {
    let status = if case == Case::SeriesLast { STATUSES.end - 1 } else { STATUSES.start };
    (0..case.routes()).map(|route| format!("/{route}/{status}")).collect()
}

/// Prints the bytes that each of many responses holds before its body is read.
fn in_flight(app: &mut Router, request: impl Fn() -> Request<Body>) {
    let mut responses = Vec::with_capacity(IN_FLIGHT);
    let before = allocations::live_bytes();
    for _ in 0..IN_FLIGHT {
        let Ok(response) = server::ready(app.call(request()));
        responses.push(response);
    }
    let bytes = allocations::live_bytes() - before;
    drop(responses);
    println!("bytes {}", bytes as f64 / IN_FLIGHT as f64);
}
