//! A collector that accepts everything, over gRPC and HTTP, and keeps the head of each request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};

/// The requests that a collector has received, as targets with headers.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<(String, HeaderMap)>>>);

impl Requests {
    /// Starts a collector on the runtime of the test.
    pub(crate) async fn serve() -> (SocketAddr, Self) {
        let requests = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = requests.clone();
        let service = Router::new().fallback(move |request: Request| received.clone().accept(request));
        tokio::spawn(async move { axum::serve(listener, service).await });
        (address, requests)
    }

    async fn accept(self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let _ = body.collect().await;
        let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
        self.0.lock().unwrap().push((head.uri.path_and_query().unwrap().to_string(), head.headers));
        if !is_grpc {
            return Response::new(Body::empty());
        }
        // An empty message, and the status of the call.
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        let body = Full::new(vec![0; 5].into()).with_trailers(async move { Some(Ok(trailers)) });
        Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let without_query = |target: &String| target.split('?').next().unwrap().to_owned();
        self.targets().iter().map(without_query).collect()
    }

    /// Returns the paths with their queries.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(target, _)| target.clone()).collect()
    }

    /// Returns the headers of the only request.
    pub(crate) fn only(&self) -> HeaderMap {
        let requests = self.0.lock().unwrap();
        let [(_, headers)] = &requests[..] else { panic!("{requests:?}") };
        headers.clone()
    }
}
