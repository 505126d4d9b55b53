//! The suite that all transports share, mounted as server and as client.
//!
//! The traffic runs through the layers and tonic's own router without a socket: a socket's own limits would keep hostile
//! headers away. The other modules are on sockets.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use otel_grpc::LayerOptions;
use otel_testing::Recorder;
use otel_testing::conformance::{
    CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run, Scenario,
    on_task,
};
use otel_testing::scenario_options;
use prost::Message;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, GrpcMethod, Status};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::echo::{EchoServer, REPEAT, Say, UNARY, repeat, say};
use crate::support::{client_layer, server_layer};

type SentHeaders = Arc<Mutex<Vec<(String, Vec<u8>)>>>;
type BoxedBody = UnsyncBoxBody<Bytes, Status>;
type Peer = BoxCloneService<Request<Body>, Response<BoxedBody>, BoxError>;

mod server {
    otel_testing::conformance!(inbound, super::Side::server);
}

mod client {
    otel_testing::conformance!(outbound, super::Side::client);
}

struct Side(Role);

impl Side {
    fn server() -> Self {
        Self(Role::Inbound)
    }

    fn client() -> Self {
        Self(Role::Outbound)
    }

    /// Puts the layers of the scenario around a peer.
    fn instrumented(&self, recorder: &Recorder, scenario: Scenario, peer: Peer) -> Peer {
        match scenario {
            Scenario::TwoLayers => self.layer(recorder, scenario, self.layer(recorder, scenario, peer)),
            Scenario::TaskBetweenLayers => {
                let inner = self.layer(recorder, scenario, peer);
                self.layer(recorder, scenario, call_on_task(inner, scenario.ambient(self.0)))
            }
            _ => self.layer(recorder, scenario, peer),
        }
    }

    fn layer(&self, recorder: &Recorder, scenario: Scenario, peer: Peer) -> Peer {
        match self.0 {
            Role::Inbound => {
                let layer = server_layer(recorder)
                    .with_request_extension(scenario == Scenario::TaskBetweenLayers)
                    .with_public_endpoint(scenario.is_public_endpoint());
                boxed(scenario_options!(layer, scenario, with_request_attributes(_, _)).layer(peer))
            }
            Role::Outbound => {
                let layer =
                    client_layer(recorder).with_request_extension(scenario == Scenario::TaskBetweenLayers);
                boxed(scenario_options!(layer, scenario, with_request_attributes(_, _)).layer(peer))
            }
        }
    }

    fn request(&self, scenario: Scenario, headers: Vec<(String, Vec<u8>)>) -> Request<Full<Bytes>> {
        let attacker_value = scenario.attacker_value();
        let (mut method, mut host) = (REPEAT.to_owned(), "api.example".to_owned());
        let mut message = repeat(3, Code::Ok);
        match scenario {
            Scenario::UnboundedOperation(_) => method = format!("test.Echo/{attacker_value}"),
            Scenario::UnboundedHost(_) => host = format!("{attacker_value}.example"),
            Scenario::Secrets => host = format!("user:{}@api.example", Scenario::SECRET),
            _ => {}
        }
        match scenario.flow() {
            Flow::Fails => {
                UNARY.clone_into(&mut method);
                message = Say { status: Code::Internal as i32, ..say(attacker_value) };
            }
            Flow::Panics => (method, message) = (UNARY.to_owned(), say("panic")),
            Flow::DroppedAtAwait => (method, message) = (UNARY.to_owned(), say("wait")),
            Flow::BodyFails => message = repeat(1, Code::DataLoss),
            _ => {}
        }
        let mut request = Request::post(format!("http://{host}/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(encoded(&message)))
            .unwrap();
        if !matches!(scenario, Scenario::UnboundedOperation(_)) {
            request.extensions_mut().insert(GrpcMethod::new("test.Echo", "Repeat"));
        }
        if self.0 == Role::Inbound && scenario.content_type().is_some() {
            request.headers_mut().remove("content-type");
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        request
    }
}

pub(crate) fn encoded(message: &Say) -> Bytes {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &body].concat().into()
}

impl Harness for Side {
    fn role(&self) -> Role {
        self.0
    }

    fn supports(&self, _: Scenario) -> Result<(), Reason> {
        Ok(())
    }

    /// CANCELLED is an error of a client's call alone.
    fn dropped_is_error(&self) -> bool {
        self.0 == Role::Outbound
    }

    fn measurements(&self, _: Flow) -> Vec<Measurement> {
        vec![Measurement::sample(match self.0 {
            Role::Inbound => "rpc.server.call.duration",
            Role::Outbound => "rpc.client.call.duration",
        })]
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (probe, sent) = (ContextProbe::new(recorder), SentHeaders::default());
        let bare_probe = ContextProbe::new(recorder);
        let request = self.request(scenario, scenario.headers(self.0));
        let second = (scenario == Scenario::SecondOperation)
            .then(|| self.request(scenario, scenario.second_headers(self.0)));

        let last = peer(self.0, scenario, bare_probe.clone(), SentHeaders::default(), None);
        let second_call = second.clone().map(|request| (last, request));
        let bare = peer(self.0, scenario, bare_probe.clone(), SentHeaders::default(), second_call);
        let bare = drive(self.0, bare, request.clone().map(Body::new), scenario.flow()).await;

        let last = peer(self.0, scenario, probe.clone(), Arc::clone(&sent), None);
        let second_call = second.map(|request| (self.instrumented(recorder, scenario, last), request));
        let inner = peer(self.0, scenario, probe.clone(), Arc::clone(&sent), second_call);
        let service = self.instrumented(recorder, scenario, inner);
        let seen = drive(self.0, service, request.map(Body::new), scenario.flow()).await;
        let sent = sent.lock().unwrap().clone();
        Observed::new(Run::new(seen, &probe), Run::new(bare, &bare_probe)).with_sent(sent)
    }
}

fn boxed<S, B>(service: S) -> Peer
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
{
    Peer::new(service.map_response(|response| response.map(BodyExt::boxed_unsync)))
}

/// Calls a service on a task of its own.
fn call_on_task(inner: Peer, ambient: opentelemetry::Context) -> Peer {
    Peer::new(tower::service_fn(move |request| {
        let mut inner = inner.clone();
        on_task(ambient.clone(), async move { inner.call(request).await })
    }))
}

/// Tonic's router with the echo in it: what a server's layer is around, and the far end of a client's call. It makes the
/// second call, if there is one.
fn peer(
    role: Role,
    scenario: Scenario,
    probe: ContextProbe,
    sent: SentHeaders,
    second: Option<(Peer, Request<Full<Bytes>>)>,
) -> Peer {
    let routes = Routes::new(EchoServer);
    boxed(tower::service_fn(move |request: Request<Body>| {
        probe.note(ProbePoint::Call);
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        sent.lock().unwrap().extend(headers);
        let (probe, mut routes, second) = (probe.clone(), routes.clone(), second.clone());
        async move {
            tokio::task::yield_now().await;
            if let Some((service, request)) = second {
                drive(role, service, request.map(Body::new), Flow::Succeeds).await;
            }
            probe.note(ProbePoint::AfterAwait);
            // A server that goes away breaks its client's stream.
            let goes_away = role == Role::Outbound && scenario.flow() == Flow::DroppedByPeer;
            let mut response = routes.call(request).await?;
            if let (Role::Outbound, Some(content_type)) = (role, scenario.content_type()) {
                let content_type = HeaderValue::from_bytes(content_type).unwrap();
                response.headers_mut().insert("content-type", content_type);
            }
            Ok::<_, BoxError>(response.map(|inner| ProbedBody {
                inner,
                probe,
                breaks_after: if goes_away { 1 } else { usize::MAX },
            }))
        }
    }))
}

/// A body that notes the context that it is polled in.
struct ProbedBody {
    inner: Body,
    probe: ContextProbe,
    breaks_after: usize,
}

impl http_body::Body for ProbedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.probe.note(ProbePoint::Body);
        if self.breaks_after == 0 {
            return Poll::Ready(Some(Err(Status::unavailable("connection reset"))));
        }
        self.breaks_after -= 1;
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// Calls a service as the scenario's flow has it, and returns its result.
async fn drive<S, B>(role: Role, mut service: S, request: Request<Body>, flow: Flow) -> CallResult
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>,
    B: http_body::Body<Data = Bytes, Error = Status> + Send,
{
    let response = match flow.drive(service.call(request), 4).await {
        Ok(response) => response,
        Err(result) => return result,
    };
    let mut seen = format!("{} {:?}\n", response.status(), response.headers()).into_bytes();
    let mut body = Box::pin(response.into_body());
    let dropped = flow.drops_body(role);
    // As hyper does, which never polls a body whose last frame it has seen.
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => seen.extend(data),
                Err(frame) => seen.extend(format!("{:?}", frame.into_trailers()).into_bytes()),
            },
            Err(error) => return CallResult::Error(error.to_string()),
        }
        if dropped {
            return CallResult::Cancelled(seen);
        }
    }
    CallResult::Value(seen)
}
