//! The conformance suite, run for the server and for the client.
//!
//! The traffic runs through the layers and tonic's router without a socket, because the limits of a socket would
//! reject hostile headers. The other modules use sockets.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use otel_testing::Recorder;
use otel_testing::conformance::{Course, Harness, Observed, Place, Reason, Role, Scenario, Seen, Witness};
use prost::Message;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, GrpcMethod, Status};
use tower::{BoxError, Layer, Service};

use crate::echo::{EchoServer, REPEAT, Say, UNARY, repeat, say};
use crate::support::{client_layer, server_layer};

type Sent = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

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

    fn request(&self, scenario: Scenario) -> Request<Body> {
        let stranger = scenario.stranger();
        let (mut method, mut host) = (REPEAT.to_owned(), "api.example".to_owned());
        let mut message = repeat(3, Code::Ok);
        match scenario {
            Scenario::UnboundedOperation(_) => method = format!("test.Echo/{stranger}"),
            Scenario::UnboundedHost(_) => host = format!("{stranger}.example"),
            Scenario::Secrets => host = format!("user:{}@api.example", Scenario::SECRET),
            _ => {}
        }
        match scenario.course() {
            Course::Fails => {
                UNARY.clone_into(&mut method);
                message = Say { status: Code::Internal as i32, ..say(stranger) };
            }
            Course::Panics => (method, message) = (UNARY.to_owned(), say("panic")),
            Course::DroppedAtAwait => (method, message) = (UNARY.to_owned(), say("wait")),
            Course::BodyFails => message = repeat(1, Code::DataLoss),
            _ => {}
        }
        let mut request = Request::post(format!("http://{host}/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(http_body_util::Full::new(encoded(&message))))
            .unwrap();
        if !matches!(scenario, Scenario::UnboundedOperation(_)) {
            request.extensions_mut().insert(GrpcMethod::new("test.Echo", "Repeat"));
        }
        for (name, value) in scenario.headers(self.0) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        request
    }
}

fn encoded(message: &Say) -> Bytes {
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

    /// CANCELLED is not an error on server spans.
    fn dropped_is_error(&self) -> bool {
        false
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (witness, sent) = (Witness::new(), Sent::default());
        let inner = peer(self.0, scenario, witness.clone(), Arc::clone(&sent));
        let bare = peer(self.0, scenario, Witness::new(), Sent::default());
        let bare = drive(self.0, bare, self.request(scenario), scenario.course()).await;
        let request = self.request(scenario);
        let seen = match self.0 {
            Role::Inbound => {
                let layer = server_layer(recorder).with_public_endpoint(scenario.is_public_endpoint());
                drive(self.0, layer.layer(inner), request, scenario.course()).await
            }
            Role::Outbound => {
                drive(self.0, client_layer(recorder).layer(inner), request, scenario.course()).await
            }
        };
        let sent = sent.lock().unwrap().clone();
        Observed::new(seen, bare).with_witness(&witness).with_sent(sent)
    }
}

/// tonic's router with the echo service: the inner service of a server layer, and the remote end of a client call.
fn peer(
    role: Role,
    scenario: Scenario,
    witness: Witness,
    sent: Sent,
) -> impl Service<Request<Body>, Response = Response<Noted>, Error = BoxError, Future: Send> {
    let routes = Routes::new(EchoServer);
    tower::service_fn(move |request: Request<Body>| {
        witness.note(Place::Call);
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        sent.lock().unwrap().extend(headers);
        let (witness, mut routes) = (witness.clone(), routes.clone());
        async move {
            tokio::task::yield_now().await;
            witness.note(Place::AfterAwait);
            // A server that disconnects breaks the client's stream.
            let goes_away = role == Role::Outbound && scenario.course() == Course::DroppedByPeer;
            let response = routes.call(request).await?;
            Ok(response.map(|inner| Noted {
                inner,
                witness,
                breaks_after: if goes_away { 1 } else { usize::MAX },
            }))
        }
    })
}

/// A body that records the context in which it is polled.
struct Noted {
    inner: Body,
    witness: Witness,
    breaks_after: usize,
}

impl http_body::Body for Noted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.witness.note(Place::Body);
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

/// Calls a service as the scenario requires and returns the result.
async fn drive<S, B>(role: Role, mut service: S, request: Request<Body>, course: Course) -> Seen
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>,
    B: http_body::Body<Data = Bytes, Error = Status> + Send,
{
    let mut call = Box::pin(service.call(request));
    match course {
        Course::DroppedBeforePoll => return Seen::Cancelled,
        Course::DroppedAtAwait => {
            for _ in 0..4 {
                assert!((&mut call).now_or_never().is_none());
            }
            return Seen::Cancelled;
        }
        _ => {}
    }
    let response = match AssertUnwindSafe(call).catch_unwind().await {
        Err(_) => return Seen::Panicked,
        Ok(Err(error)) => return Seen::Error(error.to_string()),
        Ok(Ok(response)) => response,
    };
    let mut seen = format!("{} {:?}\n", response.status(), response.headers()).into_bytes();
    let mut body = Box::pin(response.into_body());
    // A server sees a disconnecting client as a dropped body; a client sees a disconnecting server as a failing body.
    let dropped = match role {
        Role::Inbound => matches!(course, Course::DroppedByPeer | Course::DroppedByUser),
        Role::Outbound => course == Course::DroppedByUser,
    };
    // Like hyper, which does not poll a body after its last frame.
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => seen.extend(data),
                Err(frame) => seen.extend(format!("{:?}", frame.into_trailers()).into_bytes()),
            },
            Err(error) => return Seen::Error(error.to_string()),
        }
        if dropped {
            return Seen::Cancelled;
        }
    }
    Seen::Value(seen)
}
