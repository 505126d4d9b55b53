//! The service and the channel that all candidates wrap; the channel responds immediately.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use benchmarks::sdk;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tonic::{GrpcMethod, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::cell::{Side, Variant};

pub(crate) const TRACE_ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
pub(crate) const SPAN_ID: u64 = 0x00f0_67aa_0ba9_02b7;
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// The number of messages in a stream, large enough that the cost of the call is negligible.
pub(crate) const STREAMED: usize = 100;

#[derive(Clone, PartialEq, prost::Message)]
struct Hello {
    #[prost(string, tag = "1")]
    name: String,
}

/// The server with one unary and one streaming method, as tonic-build generates it.
#[derive(Clone)]
pub(crate) struct Greeter;

impl tonic::server::NamedService for Greeter {
    const NAME: &'static str = "bench.Greeter";
}

struct Greet;

impl tonic::server::UnaryService<Hello> for Greet {
    type Response = Hello;
    type Future = Ready<Result<tonic::Response<Hello>, Status>>;

    fn call(&mut self, request: tonic::Request<Hello>) -> Self::Future {
        ready(Ok(tonic::Response::new(request.into_inner())))
    }
}

impl tonic::server::ServerStreamingService<Hello> for Greet {
    type Response = Hello;
    type ResponseStream = Greetings;
    type Future = Ready<Result<tonic::Response<Greetings>, Status>>;

    fn call(&mut self, _request: tonic::Request<Hello>) -> Self::Future {
        ready(Ok(tonic::Response::new(Greetings { left: STREAMED, waits: false })))
    }
}

/// A stream that returns `Pending` once after each message, as over a network.
struct Greetings {
    left: usize,
    waits: bool,
}

impl tonic::codegen::tokio_stream::Stream for Greetings {
    type Item = Result<Hello, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.waits = !self.waits;
        if !self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Hello { name: String::new() })))
    }
}

impl<B> Service<Request<B>> for Greeter
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<Hello, Hello>::default());
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/bench.Greeter/Greet" => grpc.unary(Greet, request).await,
                _ => grpc.server_streaming(Greet, request).await,
            })
        })
    }
}

/// The headers that the layer has sent, kept while a check runs.
static SENT: Mutex<Option<HeaderMap>> = Mutex::new(None);

pub(crate) fn sent() -> HeaderMap {
    SENT.lock().unwrap_or_else(PoisonError::into_inner).take().expect("the request was sent")
}

/// A channel that responds immediately.
#[derive(Clone, Debug)]
pub(crate) struct Answer;

impl Service<Request<Body>> for Answer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if sdk::is_keeping() {
            *SENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.headers().clone());
        }
        let streams = request.uri().path() != "/bench.Greeter/Greet";
        let messages = if streams { STREAMED } else { 1 };
        ready(Ok(Response::new(Body::new(Reply { messages, ended: false }))))
    }
}

/// A response body with one frame per message, and trailers.
struct Reply {
    messages: usize,
    ended: bool,
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.messages > 0 {
            self.messages -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 5])))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// Creates a request as a server or a channel receives it.
pub(crate) fn request(side: Side, variant: Variant) -> Request<Body> {
    let method = if side.streams() { "GreetOften" } else { "Greet" };
    let uri = if side.is_server() { "http://api.example.com:8080" } else { "" };
    let mut request = Request::post(format!("{uri}/bench.Greeter/{method}"))
        .version(http::Version::HTTP_2)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", "tonic/0.14");
    if side.is_server() {
        let peer = SocketAddr::from(([192, 0, 2, 7], 49152));
        request = request
            .header("traceparent", if variant.is_unsampled() { UNSAMPLED } else { SAMPLED })
            .extension(TcpConnectInfo { local_addr: None, remote_addr: Some(peer) });
    } else {
        request = request.extension(GrpcMethod::new("bench.Greeter", method));
    }
    let message = Bytes::from_static(&[0, 0, 0, 0, 5, 10, 3, b'A', b'd', b'a']);
    request.body(Body::new(Full::new(message))).expect("the parts are valid")
}

/// Serves one call as hyper does: calls the service, polls the body to its last frame and drops everything.
pub(crate) fn serve<S, B>(service: &mut S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    let mut task = TaskContext::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut task) else {
        unreachable!("the future is always ready")
    };
    assert!(response.status().is_success());
    let mut body = pin!(response.into_body());
    while !body.is_end_stream() {
        // A pending stream has already woken the task.
        if let Poll::Ready(frame) = body.as_mut().poll_frame(&mut task) {
            let Some(Ok(_)) = frame else { break };
        }
    }
}
