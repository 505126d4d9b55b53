//! The suite that all transports share, mounted on otel-http's client around a `Balance`: the choice changes nothing of what a client
//! promises.
//!
//! The traffic runs without a socket, as in otel-http: a socket's own limits would keep hostile headers away.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use otel_discovery::{BalanceOptions, BoxError, Endpoints, StaticRegistry, WatchOptions};
use otel_http::LayerOptions;
use otel_propagation::CompositePropagator;
use otel_testing::Recorder;
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
};
use otel_testing::scenario_options;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

use crate::support::{client_layer, endpoint};

type SentHeaders = Arc<Mutex<Vec<(String, Vec<u8>)>>>;
type Body = UnsyncBoxBody<Bytes, io::Error>;
type Peer = BoxCloneSyncService<Request<Empty<Bytes>>, Response<Body>, BoxError>;

otel_testing::conformance!(outbound, Client::new);

struct Client;

impl Client {
    fn new() -> Self {
        Self
    }

    /// Puts a client layer around a service with one endpoint. The discovery records into the global providers, of which there are none,
    /// because the suite expects the client's telemetry alone.
    async fn instrumented(recorder: &Recorder, scenario: Scenario, peer: Peer) -> Peer {
        let registry = StaticRegistry::new().with_service("greet", [endpoint("a", 80)]);
        let endpoints = Endpoints::watch(registry, "greet", WatchOptions::new());
        assert!(endpoints.ready().await);
        let balance = BalanceOptions::new().connect(&endpoints, move |_| peer.clone());
        let layer = client_layer(recorder).with_propagator(CompositePropagator::default());
        let client = scenario_options!(
            layer,
            scenario,
            with_span_name(_, _),
            with_request_attributes(_, _),
            with_response_attributes(_, _)
        )
        .layer(balance)
        .map_response(|response| response.map(BodyExt::boxed_unsync));
        Peer::new(client)
    }

    fn request(scenario: Scenario, headers: Vec<(String, Vec<u8>)>) -> Request<Empty<Bytes>> {
        let attacker_value = scenario.attacker_value();
        let secret = Scenario::SECRET;
        let (mut method, mut uri) = ("GET".to_owned(), "http://api.example/greet?sig=".to_owned());
        match scenario {
            Scenario::UnboundedOperation(_) => {
                method.clone_from(&attacker_value);
                uri = format!("http://api.example/{attacker_value}?{attacker_value}");
            }
            Scenario::UnboundedHost(_) => uri = format!("http://{attacker_value}.example/greet"),
            Scenario::Secrets => uri = format!("http://user:{secret}@api.example/greet?sig={secret}&a=1"),
            _ => {}
        }
        let mut request = Request::builder().method(method.as_str()).uri(uri).body(Empty::new()).unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        request
    }
}

impl Harness for Client {
    fn role(&self) -> Role {
        Role::Outbound
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        match scenario {
            Scenario::TwoLayers | Scenario::TaskBetweenLayers => {
                Err("two client layers in one stack are a matter of the client's crate")
            }
            Scenario::DroppedBeforePoll => Err("an endpoint is chosen when the call is polled first"),
            _ => Ok(()),
        }
    }

    fn measurements(&self, _: Flow) -> Vec<Measurement> {
        vec![
            Measurement::sample("http.client.request.duration"),
            Measurement::in_flight("http.client.active_requests"),
        ]
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (probe, sent) = (ContextProbe::new(recorder), SentHeaders::default());
        let bare_probe = ContextProbe::new(recorder);
        let request = Self::request(scenario, scenario.headers(Role::Outbound));
        let second = (scenario == Scenario::SecondOperation)
            .then(|| Self::request(scenario, scenario.second_headers(Role::Outbound)));

        let last = peer(scenario, bare_probe.clone(), SentHeaders::default(), None);
        let second_call = second.clone().map(|request| (last, request));
        let bare = peer(scenario, bare_probe.clone(), SentHeaders::default(), second_call);
        let bare = drive(bare, request.clone(), scenario.flow()).await;

        let last = peer(scenario, probe.clone(), Arc::clone(&sent), None);
        let second_call = match second {
            Some(request) => Some((Self::instrumented(recorder, scenario, last).await, request)),
            None => None,
        };
        let inner = peer(scenario, probe.clone(), Arc::clone(&sent), second_call);
        let seen = drive(Self::instrumented(recorder, scenario, inner).await, request, scenario.flow()).await;
        let sent = sent.lock().unwrap().clone();
        Observed::new(Run::new(seen, &probe), Run::new(bare, &bare_probe)).with_sent(sent)
    }
}

/// The far end of a call. It makes the second call, if there is one.
fn peer(
    scenario: Scenario,
    probe: ContextProbe,
    sent: SentHeaders,
    second: Option<(Peer, Request<Empty<Bytes>>)>,
) -> Peer {
    Peer::new(tower::service_fn(move |request: Request<Empty<Bytes>>| {
        probe.note(ProbePoint::Call);
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        sent.lock().unwrap().extend(headers);
        let (probe, second) = (probe.clone(), second.clone());
        async move {
            tokio::task::yield_now().await;
            if let Some((service, request)) = second {
                drive(service, request, Flow::Succeeds).await;
            }
            probe.note(ProbePoint::AfterAwait);
            match scenario.flow() {
                Flow::Fails => return Err(BoxError::from(io::Error::other(scenario.attacker_value()))),
                Flow::Panics => panic!("as the scenario says"),
                Flow::DroppedAtAwait => std::future::pending().await,
                _ => {}
            }
            let breaks = matches!(scenario.flow(), Flow::BodyFails | Flow::DroppedByPeer);
            let path = request.uri().path().to_owned();
            let frames = stream::iter(0..3).map(move |number| {
                probe.note(ProbePoint::Body);
                match number {
                    1 if breaks => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                    number => Ok(Frame::data(Bytes::from(format!("{number} {path}\n")))),
                }
            });
            let response = Response::builder().status(203);
            let content_type = scenario.content_type();
            let response =
                content_type.into_iter().fold(response, |one, kind| one.header("content-type", kind));
            Ok(response.body(BodyExt::boxed_unsync(StreamBody::new(frames))).unwrap())
        }
    }))
}

/// Calls a service as the scenario requires and returns the result.
async fn drive(mut service: Peer, request: Request<Empty<Bytes>>, flow: Flow) -> CallResult {
    // The first poll yields a frame, the second is pending forever.
    let response = match flow.drive(service.call(request), 2).await {
        Ok(response) => response,
        Err(result) => return result,
    };
    let mut seen = response.status().as_u16().to_string().into_bytes();
    let mut body = Box::pin(response.into_body());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => seen.extend(frame.into_data().unwrap()),
            Err(error) => return CallResult::Error(error.to_string()),
        }
        if flow.drops_body(Role::Outbound) {
            return CallResult::Cancelled(seen);
        }
    }
    CallResult::Value(seen)
}
