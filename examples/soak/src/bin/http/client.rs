//! The clients: one over HTTP/1.1, one over HTTP/2, and connections of their own for requests whose socket is closed.
//!
//! The driver is also the observer on this side: it counts how each call ended, by what it saw and did.

use std::any::type_name;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, Version, header};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn;
use hyper::rt::Executor;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use otel_http::{ClientBody, ClientLayer, ClientService, EndOn};
use soak::{Class, Tally};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::Telemetry;
use crate::plan::{Cut, Plan, Upload};

type Pooled = ClientService<Client<HttpConnector, Body>>;
type Answer<E> = Result<Response<ClientBody<Incoming>>, E>;

const CHUNK: Bytes = Bytes::from_static(&[b'y'; 4096]);

/// When a call that waits for being polled is cut off at the latest; no handler that it is sent to is so fast.
const AT_LATEST: Duration = Duration::from_millis(5);

/// Makes the calls. Over HTTP/1.1 they are over at the head of the response, over HTTP/2 at the end of its body.
pub(crate) struct Driver {
    address: SocketAddr,
    layers: [ClientLayer; 2],
    clients: [Pooled; 2],
    calls: Tally,
    cuts: Arc<Cuts>,
}

/// How many requests were meant to be cut off, and how many were, before they had ended by themselves.
#[derive(Default)]
pub(crate) struct Cuts {
    planned: AtomicU64,
    done: AtomicU64,
}

impl Cuts {
    fn add(&self, done: bool) {
        self.planned.fetch_add(1, Ordering::Relaxed);
        self.done.fetch_add(u64::from(done), Ordering::Relaxed);
    }

    /// Whether about a tenth was cut off: a soak whose cuts come too late has not soaked.
    pub(crate) fn verdict(&self, requests: u64) -> Result<String, String> {
        let (planned, done) = (self.planned.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed));
        let text = format!("calls to be cut off: {planned}, and {done} were before they had ended");
        if planned >= requests / 20 && done >= planned / 10 * 9 { Ok(text) } else { Err(text) }
    }
}

impl Driver {
    pub(crate) fn new(address: SocketAddr, telemetry: &Telemetry) -> Self {
        let layer = ClientLayer::new()
            .with_tracer_provider(&telemetry.spans)
            .with_meter_provider(telemetry.metrics.meter_provider());
        let layers = [layer.clone(), layer.with_end_on(EndOn::Body)];
        let client = |http2| Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let clients = [layers[0].layer(client(false)), layers[1].layer(client(true))];
        Self { address, layers, clients, calls: Tally::default(), cuts: Arc::default() }
    }

    /// What was seen of the calls, which outlives the clients.
    pub(crate) fn finish(&self) -> (Tally, Arc<Cuts>) {
        (self.calls.clone(), Arc::clone(&self.cuts))
    }

    /// Makes one call and counts how it ended. It fails only where no connection can be had.
    pub(crate) async fn drive(&self, plan: &Plan) -> io::Result<()> {
        let request = self.request(plan);
        let seen = match plan.cut {
            Some(Cut::Socket { .. }) => self.on_own_socket(plan, request).await?,
            _ => see(plan, self.clients[usize::from(plan.http2)].clone(), request).await,
        };
        if plan.cut.is_some() {
            self.cuts.add(seen.cut);
        }
        self.calls.add(seen.class);
        Ok(())
    }

    fn request(&self, plan: &Plan) -> Request<Body> {
        let mut request = Request::new(match plan.upload {
            Some(upload) => body(upload),
            None => Body::empty(),
        });
        if plan.upload.is_some() {
            *request.method_mut() = axum::http::Method::POST;
        }
        if plan.http2 {
            *request.version_mut() = Version::HTTP_2;
        }
        let authority = self.address.to_string();
        let uri = format!("http://{authority}{}", plan.path);
        if let (Ok(uri), Ok(host)) = (uri.parse(), authority.parse()) {
            *request.uri_mut() = uri;
            request.headers_mut().insert(header::HOST, host);
        }
        request
    }

    async fn on_own_socket(&self, plan: &Plan, request: Request<Body>) -> io::Result<Seen> {
        let Some(Cut::Socket { after, reset }) = plan.cut else {
            return Err(io::Error::other("the socket was not to be closed"));
        };
        let stream = TcpStream::connect(self.address).await?;
        if reset {
            stream.set_zero_linger()?;
        }
        let io = TokioIo::new(stream);
        let layer = &self.layers[usize::from(plan.http2)];
        let tasks = Tasks::default();
        let close = async {
            sleep(after).await;
            tasks.abort();
        };
        let seen = if plan.http2 {
            let handshake = conn::http2::handshake(tasks.clone(), io).await;
            let (mut sender, connection) = handshake.map_err(io::Error::other)?;
            tasks.execute(connection);
            let client = layer.layer(service_fn(move |request| sender.send_request(request)));
            closing(see(plan, client, request), close).await
        } else {
            let (mut sender, connection) = conn::http1::handshake(io).await.map_err(io::Error::other)?;
            tasks.execute(connection);
            let client = layer.layer(service_fn(move |request| sender.send_request(request)));
            closing(see(plan, client, request), close).await
        };
        // Where the call was over first.
        tasks.abort();
        Ok(seen)
    }
}

/// Runs a connection, which over HTTP/2 is more tasks than one, and can end it with its socket.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

impl Tasks {
    fn abort(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(AbortHandle::abort);
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let task = tokio::spawn(future).abort_handle();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// What the caller saw of a call.
struct Seen {
    class: Class,
    cut: bool,
}

/// Makes a call, drops it where that is planned, and tells how it ended.
async fn see<S, E>(plan: &Plan, client: S, request: Request<Body>) -> Seen
where
    S: Service<Request<Body>, Response = Response<ClientBody<Incoming>>, Error = E>,
    E: 'static,
{
    let call = client.oneshot(request);
    let answer = match plan.cut {
        Some(Cut::Polls(polls)) => timeout(AT_LATEST, polled(call, polls)).await.ok().flatten(),
        Some(Cut::After(after)) => timeout(after, call).await.ok(),
        _ => Some(call.await),
    };
    match answer {
        // Nobody's error: the caller went away.
        None => Seen { class: Class::default(), cut: true },
        Some(answer) => read(plan, answer).await,
    }
}

/// Reads an answer's body, or as much of it as is planned.
async fn read<E: 'static>(plan: &Plan, answer: Answer<E>) -> Seen {
    let mut class = Class::default();
    let response = match answer {
        Ok(response) => response,
        Err(_) => {
            class.error = Some(type_name::<E>().to_owned());
            return Seen { class, cut: matches!(plan.cut, Some(Cut::Socket { .. })) };
        }
    };
    let status = response.status().as_u16();
    class.version = Some(if response.version() == Version::HTTP_2 { "2" } else { "1.1" }.to_owned());
    class.status = Some(i64::from(status));
    class.error = (status >= 400).then(|| status.to_string());

    let mut frames = match plan.cut {
        Some(Cut::Frames(frames)) => frames,
        _ => u64::MAX,
    };
    let mut body = response.into_body();
    while frames > 0 {
        match body.frame().await {
            None => return Seen { class, cut: false },
            Some(Ok(_)) => frames -= 1,
            Some(Err(_)) => {
                if plan.http2 {
                    class.error = Some(type_name::<hyper::Error>().to_owned());
                }
                return Seen { class, cut: matches!(plan.cut, Some(Cut::Socket { .. })) };
            }
        }
    }
    Seen { class, cut: true }
}

/// Polls a call so often and then drops it, unless it ends before. The service is called by the first poll.
async fn polled<F: Future>(call: F, polls: u64) -> Option<F::Output> {
    let mut call = pin!(call);
    let mut left = polls + 1;
    std::future::poll_fn(|cx| {
        left -= 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Goes on with a call while its connection is being closed.
async fn closing(call: impl Future<Output = Seen>, close: impl Future<Output = ()>) -> Seen {
    let mut call = pin!(call);
    tokio::select! {
        seen = &mut call => seen,
        () = close => call.await,
    }
}

fn body(upload: Upload) -> Body {
    Body::from_stream(stream::unfold(upload.chunks, move |left| async move {
        let left = left.checked_sub(1)?;
        sleep(upload.pause).await;
        Some((Ok::<_, Infallible>(CHUNK), left))
    }))
}
