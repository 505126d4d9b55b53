//! The measurement of one cell on one thread: 10,000 endpoints, of which one is exchanged after each ten calls. So a thousand calls a
//! second see a hundred changes a second.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use benchmarks::measure::{self, Mode};
use benchmarks::sdk;
use futures_util::Stream;
use opentelemetry::trace::{TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, global};
use otel_discovery::{BalanceOptions, Endpoint, Endpoints, StaticRegistry, Strategy, WatchOptions};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tower::balance::p2c::Balance;
use tower::discover::Change;
use tower::load::{CompleteOnResponse, PeakEwmaDiscover, PendingRequestsDiscover};
use tower_service::Service;

use crate::cell::{Candidate, Variant};

const SERVICE: &str = "stock";
const ENDPOINTS: u32 = 10_000;

/// The number of calls between two changes.
const CALLS: u32 = 10;

/// The number of measured changes.
const CHANGES: usize = 501;

/// The service of an endpoint, which responds at once.
#[derive(Clone, Debug)]
struct Backend;

impl Service<u64> for Backend {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(black_box(request)))
    }
}

/// Measures a call.
pub(crate) fn pick(candidate: Candidate, variant: Variant, mode: Mode) {
    let metrics = (variant != Variant::Nothing).then(|| {
        sdk::install_traces();
        sdk::install_metrics()
    });
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut cell = Measurement { candidate, variant, mode, cluster: Cluster::new(&runtime) };
    match (candidate, candidate.strategy()) {
        (Candidate::TowerPending, _) => {
            let discover = cell.cluster.changes();
            let discover = PendingRequestsDiscover::new(discover, CompleteOnResponse::default());
            cell.pick(Balance::new(discover));
        }
        (Candidate::TowerEwma, _) => {
            let discover = cell.cluster.changes();
            let (start, decay) = (Duration::from_millis(30), Duration::from_secs(10));
            let discover = PeakEwmaDiscover::new(discover, start, decay, CompleteOnResponse::default());
            cell.pick(Balance::new(discover));
        }
        (_, None) => cell.pick(Backend),
        (_, Some(strategy)) => {
            let balance = BalanceOptions::new().with_strategy(strategy);
            let balance = balance.connect(&cell.cluster.endpoints, |_| Backend);
            cell.pick(balance);
            let points = metrics.iter().flat_map(|metrics| metrics.points());
            let picks: f64 = points.filter(|one| one.name == "discovery.picks").map(|one| one.value).sum();
            let expected = if variant == Variant::Nothing { 0.0 } else { measure::ITERATIONS as f64 };
            assert!(picks >= expected, "each choice is counted: {picks}");
        }
    }
}

/// Measures changes, and prints the time of one in microseconds.
pub(crate) fn change(candidate: Candidate) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut cluster = Cluster::new(&runtime);
    let options = BalanceOptions::new().with_strategy(candidate.strategy().unwrap_or_default());
    let _balance = options.connect(&cluster.endpoints, |_| Backend);
    let first = |cluster: &Cluster<'_>| cluster.endpoints.current()[0].id().to_owned();
    let mut times: Vec<f64> = (0..CHANGES)
        .map(|_| {
            let (before, started) = (first(&cluster), Instant::now());
            cluster.change();
            let took = started.elapsed();
            assert_ne!(first(&cluster), before, "the change is applied");
            took.as_secs_f64() * 1e6
        })
        .collect();
    println!("microseconds {}", measure::median(&mut times));
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("the runtime starts")
}

impl Candidate {
    fn strategy(self) -> Option<Strategy> {
        match self {
            Self::Bare | Self::TowerPending | Self::TowerEwma => None,
            Self::RoundRobin => Some(Strategy::RoundRobin),
            Self::Random => Some(Strategy::Random),
            Self::Weighted => Some(Strategy::Weighted),
            Self::LeastPending => Some(Strategy::LeastPending),
        }
    }
}

/// A service whose endpoints change.
struct Cluster<'r> {
    runtime: &'r Runtime,
    registry: StaticRegistry,
    endpoints: Endpoints,
    /// The next endpoint that is removed; the one that is added has a number so many higher.
    next: u32,
    /// The receiver of changes alone, without a registry.
    changes: Option<UnboundedSender<Change<u32, Backend>>>,
}

/// The changes of endpoints, as tower takes them.
struct Changes(UnboundedReceiver<Change<u32, Backend>>);

impl Stream for Changes {
    type Item = Result<Change<u32, Backend>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|change| change.map(Ok))
    }
}

impl<'r> Cluster<'r> {
    fn new(runtime: &'r Runtime) -> Self {
        let registry = StaticRegistry::new().with_service(SERVICE, (0..ENDPOINTS).map(endpoint));
        let endpoints = Endpoints::watch(registry.clone(), SERVICE, WatchOptions::new());
        assert!(runtime.block_on(endpoints.ready()), "the endpoints are known");
        Self { runtime, registry, endpoints, next: 0, changes: None }
    }

    /// Returns a stream of all endpoints and their changes, which then takes the place of the registry.
    fn changes(&mut self) -> Changes {
        let (sender, receiver) = mpsc::unbounded_channel();
        for number in 0..ENDPOINTS {
            sender.send(Change::Insert(number, Backend)).expect("the receiver exists");
        }
        self.changes = Some(sender);
        Changes(receiver)
    }

    /// Exchanges an endpoint, and runs the tasks that apply the change.
    fn change(&mut self) {
        if let Some(changes) = &self.changes {
            changes.send(Change::Remove(self.next)).expect("the receiver exists");
            changes.send(Change::Insert(self.next + ENDPOINTS, Backend)).expect("the receiver exists");
            self.next += 1;
            return;
        }
        let (old, new) = (endpoint(self.next), endpoint(self.next + ENDPOINTS));
        assert!(self.registry.remove(SERVICE, old.id()), "the endpoint is known");
        self.registry.insert(SERVICE, new);
        self.next += 1;
        self.runtime.block_on(async {
            // The watch, and the task of the balancer.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
    }
}

fn endpoint(number: u32) -> Endpoint {
    let [_, b, c, d] = number.to_be_bytes();
    let endpoint = Endpoint::new(&format!("10.{b}.{c}.{d}"), 8080).expect("the address is valid");
    let endpoint = endpoint.with_id(&format!("instance-{number:08}")).expect("the id is valid");
    endpoint.with_weight(1 + (number % 5) as u16)
}

struct Measurement<'r> {
    candidate: Candidate,
    variant: Variant,
    mode: Mode,
    cluster: Cluster<'r>,
}

impl Measurement<'_> {
    fn pick<S: Service<u64, Response = u64>>(mut self, mut service: S) {
        let tracer = global::tracer("benchmark");
        let parent = match self.variant {
            Variant::Sampled => Context::new(),
            Variant::Unsampled | Variant::Nothing => benchmarks::messages::Variant::Unsampled.caller(),
        };
        // Spans end outside of the counted region, because the end frees the attributes, which is no part of a choice.
        let ended = RefCell::new(Vec::with_capacity(measure::ITERATIONS));
        let mut calls = 0;
        let mut prepare = || {
            ended.borrow_mut().clear();
            calls += 1;
            if calls % CALLS == 0 {
                self.cluster.change();
            }
            parent.with_span(tracer.start_with_context("call", &parent))
        };
        let mut work = |caller: Context| {
            let _current = caller.clone().attach();
            let mut cx = TaskContext::from_waker(Waker::noop());
            // tower's takes its changes here.
            assert!(service.poll_ready(&mut cx).is_ready(), "the service is ready");
            let future = pin!(service.call(7));
            match future.poll(&mut cx) {
                Poll::Ready(Ok(response)) => drop(black_box(response)),
                _ => panic!("the service responds at once"),
            }
            ended.borrow_mut().push(caller);
        };
        work(prepare());
        ended.borrow_mut().clear();
        let spans = sdk::spans_of(|| {
            work(prepare());
            ended.borrow_mut().clear();
        });
        assert_eq!(spans.len(), usize::from(self.variant == Variant::Sampled), "spans");
        for span in spans {
            let attributes = sdk::texts(span.attributes.iter());
            let has = |text: &str| attributes.iter().any(|one| one.starts_with(text));
            assert_eq!(has("discovery.candidates=10000"), self.candidate.is_ours(), "{attributes:?}");
            assert_eq!(has("network.peer.address=10.0."), self.candidate.is_ours(), "{attributes:?}");
        }
        measure::measure(self.mode, prepare, work);
    }
}
