//! The clients: one over HTTP/1.1, one over HTTP/2, and separate connections for requests whose socket is closed.
//!
//! The driver is also the observer of the client: it counts the outcome of each call.

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
use otel_http::{ClientBody, ClientLayer, ClientService, EndOn, LayerOptions};
use soak::{Class, Tally};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::Telemetry;
use crate::plan::{Cut, Plan, Upload};

/// The `error.type` of all errors. Their classes depend on the moment at which a socket is cut, which the caller cannot know.
const FAILED: &str = "failed";

type Pooled = ClientService<Client<HttpConnector, Body>>;
type CallResult<E> = Result<Response<ClientBody<Incoming>>, E>;

const CHUNK: Bytes = Bytes::from_static(&[b'y'; 4096]);

/// The time limit of calls that are aborted after a number of polls. The handlers that they call are slower.
const POLL_TIMEOUT: Duration = Duration::from_millis(5);

/// Sends the requests. Client spans end at the response head over HTTP/1.1 and at the end of the body over HTTP/2.
pub(crate) struct Driver {
    address: SocketAddr,
    layers: [ClientLayer; 2],
    clients: [Pooled; 2],
    calls: Tally,
    cuts: Arc<Cuts>,
}

/// The number of requests to abort, and the number of those that were aborted before they had ended.
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

    /// Checks that about a tenth of the requests was aborted, because the soak tests nothing if aborts come too late.
    pub(crate) fn verdict(&self, requests: u64) -> Result<String, String> {
        let (planned, done) = (self.planned.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed));
        let text = format!("calls to abort: {planned}, aborted before they had ended: {done}");
        if planned >= requests / 20 && done >= planned / 10 * 9 { Ok(text) } else { Err(text) }
    }
}

impl Driver {
    pub(crate) fn new(address: SocketAddr, telemetry: &Telemetry) -> Self {
        let layer = ClientLayer::new()
            .with_tracer_provider(&telemetry.spans)
            .with_meter_provider(telemetry.metrics.meter_provider())
            .with_error_type(|_| Some(FAILED));
        let layers = [layer.clone(), layer.with_end_on(EndOn::Body)];
        let client = |http2| Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let clients = [layers[0].layer(client(false)), layers[1].layer(client(true))];
        Self { address, layers, clients, calls: Tally::default(), cuts: Arc::default() }
    }

    /// Returns the counts, which outlive the clients.
    pub(crate) fn finish(&self) -> (Tally, Arc<Cuts>) {
        (self.calls.clone(), Arc::clone(&self.cuts))
    }

    /// Sends one request and counts its outcome. Fails only if it cannot connect.
    pub(crate) async fn drive(&self, plan: &Plan) -> io::Result<()> {
        let request = self.request(plan);
        let outcome = match plan.cut {
            Some(Cut::Socket { .. }) => self.on_own_socket(plan, request).await?,
            _ => observe_call(plan, self.clients[usize::from(plan.http2)].clone(), request).await,
        };
        if plan.cut.is_some() {
            self.cuts.add(outcome.aborted);
        }
        self.calls.add(outcome.class);
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

    async fn on_own_socket(&self, plan: &Plan, request: Request<Body>) -> io::Result<CallOutcome> {
        let Some(Cut::Socket { after, reset }) = plan.cut else {
            return Err(io::Error::other("the plan has no socket to close"));
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
        let outcome = if plan.http2 {
            let handshake = conn::http2::handshake(tasks.clone(), io).await;
            let (mut sender, connection) = handshake.map_err(io::Error::other)?;
            tasks.execute(connection);
            let client = layer.layer(service_fn(move |request| sender.send_request(request)));
            run_while_closing(observe_call(plan, client, request), close).await
        } else {
            let (mut sender, connection) = conn::http1::handshake(io).await.map_err(io::Error::other)?;
            tasks.execute(connection);
            let client = layer.layer(service_fn(move |request| sender.send_request(request)));
            run_while_closing(observe_call(plan, client, request), close).await
        };
        // Closes the socket if the call has ended first.
        tasks.abort();
        Ok(outcome)
    }
}

/// An executor that can abort its tasks, because an HTTP/2 connection consists of several and closing the socket must
/// end all.
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

/// The outcome of a call as the caller observed it.
struct CallOutcome {
    class: Class,
    aborted: bool,
}

/// Sends a request, aborts it if planned, and returns the outcome.
async fn observe_call<S, E>(plan: &Plan, client: S, request: Request<Body>) -> CallOutcome
where
    S: Service<Request<Body>, Response = Response<ClientBody<Incoming>>, Error = E>,
    E: 'static,
{
    let call = client.oneshot(request);
    let result = match plan.cut {
        Some(Cut::Polls(polls)) => timeout(POLL_TIMEOUT, poll_limited(call, polls)).await.ok().flatten(),
        Some(Cut::After(after)) => timeout(after, call).await.ok(),
        _ => Some(call.await),
    };
    match result {
        None => {
            let mut class = Class::default();
            class.error = Some("cancelled".to_owned());
            CallOutcome { class, aborted: true }
        }
        Some(result) => read(plan, result).await,
    }
}

/// Reads the response body, completely or up to the planned frame.
async fn read<E: 'static>(plan: &Plan, result: CallResult<E>) -> CallOutcome {
    let mut class = Class::default();
    let response = match result {
        Ok(response) => response,
        Err(_) => {
            class.error = Some(FAILED.to_owned());
            return CallOutcome { class, aborted: matches!(plan.cut, Some(Cut::Socket { .. })) };
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
            None => return CallOutcome { class, aborted: false },
            Some(Ok(_)) => frames -= 1,
            Some(Err(_)) => {
                if plan.http2 {
                    class.error = Some(FAILED.to_owned());
                }
                return CallOutcome { class, aborted: matches!(plan.cut, Some(Cut::Socket { .. })) };
            }
        }
    }
    CallOutcome { class, aborted: true }
}

/// Drops the call after this many polls unless it ends before. The first poll calls the service.
async fn poll_limited<F: Future>(call: F, polls: u64) -> Option<F::Output> {
    let mut call = pin!(call);
    let mut left = polls + 1;
    std::future::poll_fn(|cx| {
        left -= 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Runs a call while `close` closes its connection.
async fn run_while_closing(
    call: impl Future<Output = CallOutcome>,
    close: impl Future<Output = ()>,
) -> CallOutcome {
    let mut call = pin!(call);
    tokio::select! {
        outcome = &mut call => outcome,
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
