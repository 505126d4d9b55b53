//! The server: handlers that respond, delay, stream, fail and panic, behind one layer.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use otel_http::{LayerOptions, ServerLayer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::Telemetry;
use crate::accepted::{Accepted, Observer};

/// One chunk of a body; several of them exceed the socket buffers.
const CHUNK: Bytes = Bytes::from_static(&[b'x'; 4096]);

/// The running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts the server on a free port.
    pub(crate) async fn start(telemetry: &Telemetry, accepted: &Accepted) -> io::Result<Self> {
        let layer = ServerLayer::new()
            .with_tracer_provider(&telemetry.spans)
            .with_meter_provider(telemetry.metrics.meter_provider());
        let service = accepted.observe(router(layer));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            accept(&listener, &service, &mut connections, stopped).await;
            drop(listener);
            while connections.join_next().await.is_some() {}
        });
        Ok(Self { address, stop, task })
    }

    /// Stops accepting connections and waits until the existing ones have ended. A request of a client that has
    /// disconnected may still be in a socket buffer, so the counts are final only after that.
    pub(crate) async fn stop(self, patience: Duration) -> Result<String, String> {
        let _ = self.stop.send(());
        match timeout(patience, self.task).await {
            Ok(_) => Ok("the server's connections have ended".to_owned()),
            Err(_) => Err(format!("the server's connections have not ended within {patience:?}")),
        }
    }
}

async fn accept(
    listener: &TcpListener,
    service: &Observer<Router>,
    connections: &mut JoinSet<()>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            // `accept` fails if the connection was reset before.
            Ok((stream, _)) = listener.accept() => {
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    // Errors are expected: clients disconnect and handlers panic.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => return,
        }
    }
}

fn router(layer: ServerLayer) -> Router {
    Router::new()
        .route("/quick", get(async || "ok"))
        .route("/slow/{millis}", get(slow))
        .route("/stream/{chunks}/{pause}", get(stream))
        .route("/sized/{chunks}", get(sized))
        .route("/failing/{chunks}", get(failing))
        .route("/panic", get(async || -> StatusCode { panic_quietly() }))
        .route("/panicking/{chunks}", get(panicking))
        .route("/status/{code}", get(status))
        .route("/upload", post(upload))
        .route("/events", get(events))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(layer)
}

async fn slow(Path(millis): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    "at last"
}

async fn stream(Path((chunks, pause)): Path<(u64, u64)>) -> Body {
    let pause = Duration::from_millis(pause);
    Body::from_stream(data(chunks, pause, || None::<Result<_, Infallible>>))
}

/// Returns a body of unknown length in a response with `content-length`, as a proxy does. hyper does not poll such a
/// body after its last byte.
async fn sized(Path(chunks): Path<u64>) -> impl IntoResponse {
    let length = chunks * CHUNK.len() as u64;
    let body = Body::from_stream(data(chunks, Duration::ZERO, || None::<Result<_, Infallible>>));
    ([(header::CONTENT_LENGTH, length.to_string())], body)
}

async fn failing(Path(chunks): Path<u64>) -> Body {
    let kind = if chunks % 2 == 0 { io::ErrorKind::TimedOut } else { io::ErrorKind::UnexpectedEof };
    Body::from_stream(data(chunks, Duration::ZERO, move || Some(Err(io::Error::from(kind)))))
}

async fn panicking(Path(chunks): Path<u64>) -> Body {
    Body::from_stream(data(chunks, Duration::ZERO, || -> Option<Result<_, Infallible>> { panic_quietly() }))
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT)
}

async fn upload(body: Body) -> Result<String, StatusCode> {
    let bytes = body.collect().await.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
    Ok(bytes.len().to_string())
}

async fn events() -> impl IntoResponse {
    let events = stream::iter((0..3).map(|_| Ok::<_, Infallible>("data: event\n\n")));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
}

/// A stream of chunks with a pause before each, followed by the item that `end` returns.
fn data<E>(
    chunks: u64,
    pause: Duration,
    end: impl FnOnce() -> Option<Result<Bytes, E>>,
) -> impl Stream<Item = Result<Bytes, E>> {
    stream::unfold((chunks, Some(end)), move |(left, end)| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        match left.checked_sub(1) {
            Some(left) => Some((Ok(CHUNK), (left, end))),
            None => end.and_then(|end| end()).map(|item| (item, (0, None))),
        }
    })
}

/// Panics without calling the panic hook, because there are thousands of panics.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("planned"))
}
