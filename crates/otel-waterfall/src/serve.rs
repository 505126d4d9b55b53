//! A server for development: receives OTLP over gRPC and HTTP on 127.0.0.1, and shows the traces live on a page.

mod guard;
mod receive;
mod respond;

mod store;
mod weigh;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

pub(crate) use self::respond::frame;
use self::store::Store;
use crate::otlp::{Error, read_signals};

/// Maximum number of connections, and of requests whose bodies are read at the same time.
const MAX_CONNECTIONS: usize = 256;
const MAX_REQUESTS: usize = 32;
/// Timeout of the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// A server that receives OTLP over gRPC and HTTP, with protobuf and JSON, and shows the traces live.
///
/// It listens on 127.0.0.1 only, and refuses requests with another `Host` or with a foreign `Origin`, so that no web
/// page can read the traces. Its memory is bounded: the oldest traces are forgotten.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// let server = otel_waterfall::Server::new().with_http_port(0).bind().await?;
/// println!("http://{}/", server.http_address());
/// server.run().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Server {
    http_port: u16,
    grpc_port: u16,
    max_bytes: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self { http_port: 4318, grpc_port: 4317, max_bytes: 64 << 20 }
    }
}

impl Server {
    /// Creates a server with the default ports of OTLP, 4318 for HTTP and 4317 for gRPC, and 64 MiB for its data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the port of OTLP over HTTP and of the page; 0 is any free port. Default: 4318.
    #[must_use]
    pub fn with_http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// Sets the port of OTLP over gRPC; 0 is any free port. Default: 4317.
    #[must_use]
    pub fn with_grpc_port(mut self, port: u16) -> Self {
        self.grpc_port = port;
        self
    }

    /// Sets the memory for traces and log records in bytes, at least 1 MiB. Default: 64 MiB. Metrics have at most 16
    /// MiB more.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes.max(1 << 20);
        self
    }

    /// Binds both ports.
    ///
    /// # Errors
    ///
    /// Returns an error if a port cannot be bound, for example because another collector uses it; the error names the
    /// port.
    pub async fn bind(self) -> io::Result<BoundServer> {
        let http = listen(self.http_port).await?;
        let grpc = listen(self.grpc_port).await?;
        let started =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let shared = Shared {
            store: Mutex::new(Store::new(self.max_bytes)),
            requests: Semaphore::new(MAX_REQUESTS),
            started,
        };
        let (http_address, grpc_address) = (http.local_addr()?, grpc.local_addr()?);
        Ok(BoundServer { http, grpc, http_address, grpc_address, shared: Arc::new(shared) })
    }
}

async fn listen(port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// A [`Server`] whose ports are bound.
#[derive(Debug)]
pub struct BoundServer {
    http: TcpListener,
    grpc: TcpListener,
    http_address: SocketAddr,
    grpc_address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    requests: Semaphore,
    /// Microseconds since the Unix epoch; tells a page that the server was restarted.
    started: u64,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        // No panic leaves the store inconsistent.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BoundServer {
    /// Returns the address of OTLP over HTTP and of the page.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Returns the address of OTLP over gRPC.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Adds the records of OTLP JSON documents, as if they had been received.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not OTLP JSON; nothing is added then.
    pub fn add_otlp_json(&self, text: &str) -> Result<(), Error> {
        let signals = read_signals(text)?;
        self.shared.store().add(signals);
        Ok(())
    }

    /// Returns a line with the number of received spans, kept and forgotten traces.
    #[must_use]
    pub fn facts(&self) -> String {
        self.shared.store().facts()
    }

    /// Accepts connections until the future is dropped, which closes them all.
    pub async fn run(&self) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            // A closed connection returns its permit; until then no further one is accepted.
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.http.accept() => accepted,
                accepted = self.grpc.accept() => accepted,
            };
            while tasks.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&self.shared);
                    tasks.spawn(async move {
                        connection(stream, shared).await;
                        drop(permit);
                    });
                }
                // The process may have too many open files: closing connections helps, a busy loop does not.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Serves HTTP/1 and HTTP/2, which a connection's first bytes tell apart. One without a byte is closed after the timeout of a head.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // `peek` waits for a byte and leaves it there.
    if tokio::time::timeout(HEAD, stream.peek(&mut [0])).await.is_err() {
        return;
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).keep_alive_interval(Some(HEAD));
    let service = service_fn(move |request| respond::respond(request, Arc::clone(&shared)));
    // A connection that breaks is the client's; its requests have had their responses.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
