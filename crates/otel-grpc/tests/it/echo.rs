//! A service with all four kinds of calls, as tonic-build would generate it, and its client. The messages of a call
//! determine its behaviour.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, Stream, StreamExt};
use http::uri::PathAndQuery;
use http_body::Body as HttpBody;
use opentelemetry::Context as TelemetryContext;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::TraceContextExt;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::StdError;
use tonic::{Code, GrpcMethod, IntoRequest, IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

pub(crate) const UNARY: &str = "test.Echo/Unary";
pub(crate) const COLLECT: &str = "test.Echo/Collect";
pub(crate) const REPEAT: &str = "test.Echo/Repeat";
pub(crate) const TALK: &str = "test.Echo/Talk";

/// A message that determines the server's behaviour: `panic` panics, `wait` never completes, a status fails the call,
/// `leave` ends a bidirectional stream, `context` returns the current context, all others are echoed.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Say {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    /// The status to fail with; a stream fails after its messages.
    #[prost(int32, tag = "2")]
    pub(crate) status: i32,
    /// The number of messages of a server stream.
    #[prost(uint32, tag = "3")]
    pub(crate) number: u32,
}

pub(crate) fn say(text: impl Into<String>) -> Say {
    Say { text: text.into(), ..Say::default() }
}

pub(crate) fn fail(code: Code) -> Say {
    Say { text: "as it was asked to".into(), status: code as i32, number: 0 }
}

/// Requests a stream of `number` messages that ends with the status `code`.
pub(crate) fn repeat(number: u32, code: Code) -> Say {
    Say { text: "again".into(), status: code as i32, number }
}

async fn answer(say: Say) -> Result<Say, Status> {
    tokio::task::yield_now().await;
    match &*say.text {
        "panic" => panic!("as it was asked to"),
        "wait" => std::future::pending().await,
        "context" => Ok(Say { text: current(), ..say }),
        _ if say.status != 0 => Err(Status::new(Code::from_i32(say.status), say.text)),
        _ => Ok(say),
    }
}

/// Formats the current context: its span, its trace state and its baggage.
pub(crate) fn current() -> String {
    let context = TelemetryContext::current();
    let span = context.span().span_context().clone();
    let baggage = context.baggage().iter().map(|(key, (value, _))| format!(" {key}={value}"));
    let baggage = baggage.collect::<String>();
    format!("{} {} {}{baggage}", span.trace_id(), span.span_id(), span.trace_state().header())
}

async fn unary(request: Request<Say>) -> Result<Response<Say>, Status> {
    Ok(Response::new(answer(request.into_inner()).await?))
}

async fn collect(request: Request<Streaming<Say>>) -> Result<Response<Say>, Status> {
    let mut messages = request.into_inner();
    let mut number = 0;
    while let Some(message) = messages.next().await {
        answer(message?).await?;
        number += 1;
    }
    Ok(Response::new(Say { number, ..Say::default() }))
}

type Messages = BoxStream<'static, Result<Say, Status>>;

async fn stream_back(request: Request<Say>) -> Result<Response<Messages>, Status> {
    let say = request.into_inner();
    let messages = stream::iter((0..say.number).map(Ok)).chain(stream::once(async { Err(()) }));
    let messages = messages.filter_map(move |number| {
        let say = say.clone();
        async move {
            match number {
                Ok(number) if say.text == "context" => Some(Ok(Say { number, ..answer(say).await.unwrap() })),
                Ok(number) => Some(Ok(Say { number, ..Say::default() })),
                Err(()) => answer(say).await.err().map(Err),
            }
        }
    });
    Ok(Response::new(messages.boxed()))
}

async fn talk(request: Request<Streaming<Say>>) -> Result<Response<Messages>, Status> {
    let stays = |message: &Result<Say, Status>| {
        let leaves = message.as_ref().is_ok_and(|say| say.text == "leave");
        std::future::ready(!leaves)
    };
    let messages = request.into_inner().take_while(stays);
    Ok(Response::new(messages.then(|message| async { answer(message?).await }).boxed()))
}

/// The server. The metadata `x-most-in` and `x-most-out` limit the size of a call's messages, in bytes.
#[derive(Clone)]
pub(crate) struct EchoServer;

impl tonic::server::NamedService for EchoServer {
    const NAME: &'static str = "test.Echo";
}

impl<B> Service<http::Request<B>> for EchoServer
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let most = |name| request.headers().get(name)?.to_str().ok()?.parse().ok();
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<Say, Say>::default())
            .apply_max_message_size_config(most("x-most-in"), most("x-most-out"));
        let method = request.uri().path().trim_start_matches('/').to_owned();
        async move {
            Ok(match &*method {
                UNARY => grpc.unary(tower::service_fn(unary), request).await,
                COLLECT => grpc.client_streaming(tower::service_fn(collect), request).await,
                REPEAT => grpc.server_streaming(tower::service_fn(stream_back), request).await,
                TALK => grpc.streaming(tower::service_fn(talk), request).await,
                _ => http::Response::builder()
                    .header(http::header::CONTENT_TYPE, "application/grpc")
                    .header(Status::GRPC_STATUS, Code::Unimplemented as i32)
                    .body(Body::empty())
                    .unwrap(),
            })
        }
        .boxed()
    }
}

/// The client.
#[derive(Clone)]
pub(crate) struct EchoClient<T>(pub(crate) T);

impl<T> EchoClient<T>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    async fn ready(&self) -> Result<Grpc<T>, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }

    pub(crate) async fn unary(&self, request: impl IntoRequest<Say>) -> Result<Response<Say>, Status> {
        let (request, path) = known(request.into_request(), "Unary");
        self.ready().await?.unary(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn collect(
        &self,
        request: impl IntoStreamingRequest<Message = Say>,
    ) -> Result<Response<Say>, Status> {
        let (request, path) = known(request.into_streaming_request(), "Collect");
        self.ready().await?.client_streaming(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn repeat(
        &self,
        request: impl IntoRequest<Say>,
    ) -> Result<Response<Streaming<Say>>, Status> {
        let (request, path) = known(request.into_request(), "Repeat");
        self.ready().await?.server_streaming(request, path, ProstCodec::default()).await
    }

    pub(crate) async fn talk(
        &self,
        request: impl IntoStreamingRequest<Message = Say>,
    ) -> Result<Response<Streaming<Say>>, Status> {
        let (request, path) = known(request.into_streaming_request(), "Talk");
        self.ready().await?.streaming(request, path, ProstCodec::default()).await
    }

    /// Calls a method by its path, without a `GrpcMethod`.
    pub(crate) async fn by_hand(&self, path: &str) -> Result<Response<Say>, Status> {
        let path = PathAndQuery::try_from(path).unwrap();
        self.ready().await?.unary(Request::new(say("by hand")), path, ProstCodec::default()).await
    }
}

fn known<M>(mut request: Request<M>, method: &'static str) -> (Request<M>, PathAndQuery) {
    request.extensions_mut().insert(GrpcMethod::new("test.Echo", method));
    (request, PathAndQuery::try_from(format!("/test.Echo/{method}")).unwrap())
}

/// Boxes a stream of request messages.
pub(crate) fn messages(
    messages: impl Stream<Item = Say> + Send + 'static,
) -> Pin<Box<dyn Stream<Item = Say> + Send>> {
    messages.boxed()
}
