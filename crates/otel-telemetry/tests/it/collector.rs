//! A collector for OTLP/HTTP and OTLP/gRPC that answers as a test says, and can be stopped with its connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http_body::Frame;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::Status;

/// The answer to one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Accept,
    /// Accepts the request except for a number of spans, with a reason.
    Reject(i64, &'static str),
    /// A status, a `Retry-After` header and a text.
    Http(u16, Option<&'static str>, &'static str),
    Grpc(Status),
}

#[derive(Debug, Default)]
struct State {
    answers: VecDeque<Answer>,
    spans: Vec<String>,
    requests: Vec<Instant>,
}

pub(crate) struct Collector {
    runtime: Option<Runtime>,
    state: Arc<Mutex<State>>,
    pub(crate) address: SocketAddr,
}

impl Collector {
    /// Gives these answers, then accepts everything. The port is free if `address` is `None`.
    pub(crate) fn start(address: Option<SocketAddr>, answers: impl IntoIterator<Item = Answer>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state =
            Arc::new(Mutex::new(State { answers: answers.into_iter().collect(), ..State::default() }));
        let address = address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&state);
        let app = Router::new().fallback(move |request| answer(Arc::clone(&served), request));
        runtime.spawn(async move {
            axum::serve(TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
        Self { runtime: Some(runtime), state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the names of the accepted spans.
    pub(crate) fn spans(&self) -> Vec<String> {
        self.state.lock().unwrap().spans.clone()
    }

    /// Returns the times of all requests.
    pub(crate) fn requests(&self) -> Vec<Instant> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime cannot wait for another one.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(1))).join().unwrap();
        }
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let is_grpc = head.headers["content-type"].as_bytes().starts_with(b"application/grpc");
    let message = if is_grpc { body.slice(5..) } else { body };
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(Instant::now());
        let answer = state.answers.pop_front().unwrap_or(Answer::Accept);
        if matches!(answer, Answer::Accept | Answer::Reject(..)) {
            let request = ExportTraceServiceRequest::decode(message).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            state.spans.extend(scopes.flat_map(|scope| scope.spans).map(|span| span.name));
        }
        answer
    };
    let partial_success = match answer {
        Answer::Accept => None,
        Answer::Reject(rejected_spans, reason) => {
            Some(ExportTracePartialSuccess { rejected_spans, error_message: reason.into() })
        }
        Answer::Http(status, retry_after, text) => {
            let mut response = Response::builder().status(status);
            if let Some(delay) = retry_after {
                response = response.header("retry-after", delay);
            }
            return response.body(text.into()).unwrap();
        }
        Answer::Grpc(status) => return status.into_http(),
    };
    let response = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    if !is_grpc {
        return Response::builder()
            .header("content-type", "application/x-protobuf")
            .body(response.into())
            .unwrap();
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(response.len()).unwrap().to_be_bytes());
    framed.extend(response);
    let trailers =
        http::HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
    let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
    let body = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}
