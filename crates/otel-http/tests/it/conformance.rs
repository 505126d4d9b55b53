//! The suite that all transports share, mounted as server, as client, and as client that lasts to the body's end.
//!
//! The traffic runs through the layers without a socket: a socket's own limits (100 headers, 16 KiB of them) would keep
//! hostile headers away. The other modules are on sockets.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use opentelemetry::Context;
use otel_http::{EndOn, LayerOptions};
use otel_testing::Recorder;
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
    on_task,
};
use otel_testing::scenario_options;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt};

use crate::support::{client_layer, server_layer};

type SentHeaders = Arc<Mutex<Vec<(String, Vec<u8>)>>>;
type BoxedResponse = Response<UnsyncBoxBody<Bytes, io::Error>>;
type Peer = BoxCloneService<Request<Empty<Bytes>>, BoxedResponse, io::Error>;

mod server {
    otel_testing::conformance!(inbound, super::Side::server);
}

mod client {
    otel_testing::conformance!(outbound, super::Side::client);
}

mod client_to_the_body {
    otel_testing::conformance!(outbound, super::Side::client_to_the_body);
}

struct Side {
    role: Role,
    end_on: EndOn,
}

impl Side {
    fn server() -> Self {
        Self { role: Role::Inbound, end_on: EndOn::Auto }
    }

    fn client() -> Self {
        Self { role: Role::Outbound, end_on: EndOn::Head }
    }

    fn client_to_the_body() -> Self {
        Self { role: Role::Outbound, end_on: EndOn::Body }
    }

    /// Puts the layers of the scenario around a peer.
    fn instrumented(&self, recorder: &Recorder, scenario: Scenario, peer: Peer) -> Peer {
        match scenario {
            Scenario::TwoLayers => self.layer(recorder, scenario, self.layer(recorder, scenario, peer)),
            Scenario::TaskBetweenLayers => {
                let inner = self.layer(recorder, scenario, peer);
                self.layer(recorder, scenario, call_on_task(inner, scenario.ambient(self.role)))
            }
            _ => self.layer(recorder, scenario, peer),
        }
    }

    fn layer(&self, recorder: &Recorder, scenario: Scenario, peer: Peer) -> Peer {
        match self.role {
            Role::Inbound => {
                let layer = server_layer(recorder)
                    .with_end_on(self.end_on)
                    .with_request_extension(scenario == Scenario::TaskBetweenLayers)
                    .with_public_endpoint(scenario.is_public_endpoint());
                boxed(
                    scenario_options!(
                        layer,
                        scenario,
                        with_span_name(_, _),
                        with_request_attributes(_, _),
                        with_response_attributes(_, _)
                    )
                    .layer(peer),
                )
            }
            Role::Outbound => {
                let layer = client_layer(recorder)
                    .with_end_on(self.end_on)
                    .with_request_extension(scenario == Scenario::TaskBetweenLayers);
                boxed(
                    scenario_options!(
                        layer,
                        scenario,
                        with_span_name(_, _),
                        with_request_attributes(_, _),
                        with_response_attributes(_, _)
                    )
                    .layer(peer),
                )
            }
        }
    }

    fn request(&self, scenario: Scenario, headers: Vec<(String, Vec<u8>)>) -> Request<Empty<Bytes>> {
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

impl Harness for Side {
    fn role(&self) -> Role {
        self.role
    }

    fn supports(&self, _: Scenario) -> Result<(), Reason> {
        Ok(())
    }

    fn measurements(&self, _: Flow) -> Vec<Measurement> {
        let (duration, active) = match self.role {
            Role::Inbound => ("http.server.request.duration", "http.server.active_requests"),
            Role::Outbound => ("http.client.request.duration", "http.client.active_requests"),
        };
        vec![Measurement::sample(duration), Measurement::in_flight(active)]
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (probe, sent) = (ContextProbe::new(recorder), SentHeaders::default());
        let bare_probe = ContextProbe::new(recorder);
        let request = self.request(scenario, scenario.headers(self.role));
        let second = (scenario == Scenario::SecondOperation)
            .then(|| self.request(scenario, scenario.second_headers(self.role)));

        let last = peer(self.role, scenario, bare_probe.clone(), SentHeaders::default(), None);
        let second_call = second.clone().map(|request| (last, request));
        let bare = peer(self.role, scenario, bare_probe.clone(), SentHeaders::default(), second_call);
        let bare = drive(self.role, bare, request.clone(), scenario.flow()).await;

        let last = peer(self.role, scenario, probe.clone(), Arc::clone(&sent), None);
        let second_call = second.map(|request| (self.instrumented(recorder, scenario, last), request));
        let inner = peer(self.role, scenario, probe.clone(), Arc::clone(&sent), second_call);
        let service = self.instrumented(recorder, scenario, inner);
        let seen = drive(self.role, service, request, scenario.flow()).await;
        let sent = sent.lock().unwrap().clone();
        Observed::new(Run::new(seen, &probe), Run::new(bare, &bare_probe)).with_sent(sent)
    }
}

fn boxed<S, B>(service: S) -> Peer
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = io::Error, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
{
    Peer::new(service.map_response(|response| response.map(BodyExt::boxed_unsync)))
}

/// Calls a service on a task of its own.
fn call_on_task(inner: Peer, ambient: Context) -> Peer {
    Peer::new(tower::service_fn(move |request| {
        let mut inner = inner.clone();
        on_task(ambient.clone(), async move { inner.call(request).await })
    }))
}

/// The handler of a server, or the far end of a client's call. It makes the second call, if there is one.
fn peer(
    role: Role,
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
                drive(role, service, request, Flow::Succeeds).await;
            }
            probe.note(ProbePoint::AfterAwait);
            match scenario.flow() {
                Flow::Fails => return Err(io::Error::other(scenario.attacker_value())),
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
            let mut response = Response::builder().status(203);
            if let (Role::Outbound, Some(content_type)) = (role, scenario.content_type()) {
                response = response.header("content-type", content_type);
            }
            Ok(response.body(BodyExt::boxed_unsync(StreamBody::new(frames))).unwrap())
        }
    }))
}

/// Calls a service as the scenario requires and returns the result.
async fn drive<S, B>(role: Role, mut service: S, request: Request<Empty<Bytes>>, flow: Flow) -> CallResult
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = io::Error, Future: Send>,
    B: Body<Data = Bytes, Error = io::Error> + Send,
{
    // The first poll yields a frame, the second is pending forever.
    let response = match flow.drive(service.call(request), 2).await {
        Ok(response) => response,
        Err(result) => return result,
    };
    let mut seen = response.status().as_u16().to_string().into_bytes();
    let mut body = Box::pin(response.into_body());
    let dropped = flow.drops_body(role);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => seen.extend(frame.into_data().unwrap()),
            Err(error) => return CallResult::Error(error.to_string()),
        }
        if dropped {
            return CallResult::Cancelled(seen);
        }
    }
    CallResult::Value(seen)
}
