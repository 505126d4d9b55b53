//! Calls over gRPC at a steady rate to five endpoints, one of which is slow and one of which refuses connections.
//!
//! A call is not repeated, so that each choice of the dead endpoint is a failed call.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use benchmarks::named;
use futures_util::future::BoxFuture;
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response};
use otel_discovery::{BalanceOptions, BoxError, Endpoint, Endpoints, StaticRegistry, Strategy, WatchOptions};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::transport::channel::Change;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic_prost::ProstCodec;
use tower::ServiceExt as _;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::load::{CompleteOnResponse, PeakEwmaDiscover, PendingRequestsDiscover};
use tower::util::BoxCloneSyncService;
use tower_service::Service;

pub(crate) const CALLS: usize = 2_000;
pub(crate) const DESCRIPTION: &str = "200 a second, to three endpoints that respond after 2 ms, one that responds after 200 ms, and one \
                                      that refuses connections";

/// The time between two calls.
const INTERVAL: Duration = Duration::from_millis(5);
const GOOD: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(200);
const PATH: &str = "/bench.Stock/Get";

named! {
    /// The measured client.
    pub(crate) Client {
        /// tonic's `balance_channel`.
        Tonic = "tonic",
        /// tower's `Balance` by pending requests, over channels of tonic.
        TowerPending = "tower-pending",
        /// The same by latency.
        TowerEwma = "tower-ewma",
        /// otel-discovery, round-robin.
        RoundRobin = "round-robin",
        /// otel-discovery, by pending calls.
        LeastPending = "least-pending",
        /// otel-discovery, by pending calls, without ejection.
        NoEjection = "no-ejection",
    }
}

impl Client {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Tonic => "tonic's `Channel::balance_channel`",
            Self::TowerPending => "tower's `Balance`, `PendingRequests`",
            Self::TowerEwma => "tower's `Balance`, `PeakEwma`",
            Self::RoundRobin => "`Strategy::RoundRobin`",
            Self::LeastPending => "`Strategy::LeastPending`",
            Self::NoEjection => "`Strategy::LeastPending`, without ejection",
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

/// The server of an endpoint, which counts its calls.
#[derive(Clone)]
struct Stock {
    delay: Duration,
    calls: Arc<AtomicUsize>,
}

impl tonic::server::NamedService for Stock {
    const NAME: &'static str = "bench.Stock";
}

impl tonic::server::UnaryService<Empty> for Stock {
    type Response = Empty;
    type Future = BoxFuture<'static, Result<tonic::Response<Empty>, Status>>;

    fn call(&mut self, _: tonic::Request<Empty>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let delay = self.delay;
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            Ok(tonic::Response::new(Empty {}))
        })
    }
}

impl Service<Request<Body>> for Stock {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let stock = self.clone();
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<Empty, Empty>::default());
        Box::pin(async move { Ok(grpc.unary(stock, request).await) })
    }
}

/// The service of a client, whose clones share its choices.
type Calls = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// Makes the calls, and prints the results, one per line.
pub(crate) fn measure(client: Client) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("it starts");
    runtime.block_on(run(client));
}

async fn run(client: Client) {
    let mut members = Vec::new();
    let mut counts = Vec::new();
    for (name, delay) in [("good-0", GOOD), ("good-1", GOOD), ("good-2", GOOD), ("slow", SLOW)] {
        let (address, calls) = serve(delay).await;
        members.push((name, address));
        counts.push((name, calls));
    }
    // A port that was free a moment ago refuses connections.
    let unused = StdListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port is free");
    members.push(("dead", unused));
    let service = connect(client, &members).await;

    let (mut calls, mut ticks) = (Vec::with_capacity(CALLS), tokio::time::interval(INTERVAL));
    for _ in 0..CALLS {
        ticks.tick().await;
        let mut grpc = Grpc::new(service.clone());
        calls.push(tokio::spawn(async move {
            let started = Instant::now();
            let path = PathAndQuery::from_static(PATH);
            let is_ready = grpc.ready().await.is_ok();
            let codec = ProstCodec::<Empty, Empty>::default();
            let is_ok = is_ready && grpc.unary(tonic::Request::new(Empty {}), path, codec).await.is_ok();
            is_ok.then(|| started.elapsed())
        }));
    }
    let mut times = Vec::with_capacity(CALLS);
    for call in calls {
        times.extend(call.await.expect("it does not panic"));
    }
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("failed {}", CALLS - times.len());
    println!("p50 {}", percentile(50));
    println!("p99 {}", percentile(99));
    let mut others = 0;
    for (name, calls) in counts {
        let calls = calls.load(Ordering::Relaxed);
        println!("{name} {calls}");
        others += calls;
    }
    println!("dead {}", CALLS - others);
}

async fn serve(delay: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let calls = Arc::<AtomicUsize>::default();
    let server = Server::builder().add_service(Stock { delay, calls: Arc::clone(&calls) });
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
    (address, calls)
}

async fn connect(client: Client, members: &[(&'static str, SocketAddr)]) -> Calls {
    if client == Client::Tonic {
        let (channel, changes) = Channel::balance_channel(members.len());
        for (name, address) in members {
            let uri = format!("http://{address}").parse().expect("the address is valid");
            changes.send(Change::Insert(*name, Channel::builder(uri))).await.expect("the channel is open");
        }
        return boxed(channel);
    }
    let members = members.iter().map(|(name, address)| {
        let endpoint = Endpoint::parse(&address.to_string()).expect("the address is valid");
        endpoint.with_id(name).expect("the id is valid")
    });
    let registry = StaticRegistry::new().with_service("stock", members);
    let endpoints = Endpoints::watch(registry, "stock", WatchOptions::new());
    assert!(endpoints.ready().await, "the endpoints are known");
    let connect = |one: &Endpoint| Channel::builder(one.uri(Scheme::HTTP)).connect_lazy();
    let discover = endpoints.discover(connect);
    let ours = |options: BalanceOptions| boxed(options.connect(&endpoints, connect));
    let options = BalanceOptions::new();
    match client {
        Client::Tonic => unreachable!("it returned above"),
        Client::TowerPending => {
            let discover = PendingRequestsDiscover::new(discover, CompleteOnResponse::default());
            boxed(Buffer::new(Balance::new(discover), 1024))
        }
        Client::TowerEwma => {
            let (start, decay) = (Duration::from_millis(30), Duration::from_secs(10));
            let discover = PeakEwmaDiscover::new(discover, start, decay, CompleteOnResponse::default());
            boxed(Buffer::new(Balance::new(discover), 1024))
        }
        Client::RoundRobin => ours(options),
        Client::LeastPending => ours(options.with_strategy(Strategy::LeastPending)),
        Client::NoEjection => ours(options.with_strategy(Strategy::LeastPending).with_ejection(None)),
    }
}

fn boxed<S>(service: S) -> Calls
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    BoxCloneSyncService::new(service.map_err(|error| Status::unavailable(error.into().to_string())))
}
