//! The server process: axum on a socket, with a candidate's layer and the set-up of otel-telemetry.

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use benchmarks::named;
use benchmarks::oxtel::Oxtel;
use benchmarks::sdk::Metrics;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_telemetry::{Exporter, Telemetry};

/// The threads that serve requests: two, so that cache lines are shared.
const THREADS: usize = 2;

/// The calibrated work of the handler that spins.
const SPIN: Duration = Duration::from_micros(20);

named! {
    /// The measured server.
    pub(crate) Candidate {
        Bare = "bare",
        /// The same once more: its difference to the first shows the resolution of the measurement.
        BareAgain = "bare-again",
        /// The SDK is set up, and no layer uses it.
        SetUp = "set-up",
        /// Our layer without an SDK.
        NoSdk = "no-sdk",
        TowerOtel = "tower-otel",
        InstrumentationTower = "opentelemetry-instrumentation-tower",
        AxumTracing = "axum-tracing-opentelemetry",
        Oxtel = "oxtel-tower",
        Ours = "ours",
    }
}

impl Candidate {
    pub(crate) fn is_instrumented(self) -> bool {
        !matches!(self, Self::Bare | Self::BareAgain | Self::SetUp | Self::NoSdk)
    }

    pub(crate) fn has_metrics(self) -> bool {
        self.is_instrumented() && self != Self::AxumTracing
    }

    fn has_sdk(self) -> bool {
        !matches!(self, Self::Bare | Self::BareAgain | Self::NoSdk | Self::Oxtel)
    }
}

/// Serves until standard input ends, with a handler of so many spins. Prints the port first, and at the end the numbers of
/// recorded spans and durations.
pub(crate) fn serve(candidate: Candidate, spins: u64) {
    let exported: Arc<AtomicU64> = Arc::default();
    let telemetry = candidate.has_sdk().then(|| set_up(&exported));
    let oxtel = (candidate == Candidate::Oxtel).then(Oxtel::batching);
    if let (Candidate::TowerOtel | Candidate::AxumTracing, Some((telemetry, _))) = (candidate, &telemetry) {
        benchmarks::sdk::subscribe(telemetry.tracer_provider());
    }
    let handler = async move |Path(_): Path<String>| {
        spin(spins);
        "Ada"
    };
    let app = Router::new().route("/users/{id}", get(handler));
    let app = match candidate {
        Candidate::Ours | Candidate::NoSdk => app.layer(otel_http::ServerLayer::new()),
        Candidate::InstrumentationTower => {
            app.layer(opentelemetry_instrumentation_tower::http::server::Layer::new())
        }
        Candidate::TowerOtel => app.layer((
            tower_otel::trace::HttpLayer::server(tracing::Level::INFO),
            tower_otel::metrics::HttpLayer::server(&opentelemetry::global::meter("tower-otel")),
        )),
        Candidate::AxumTracing => app.layer(axum_tracing_opentelemetry::middleware::OtelAxumLayer::default()),
        Candidate::Oxtel => app.layer(oxtel_tower::HttpServerLayer::new().with_access_log(false)),
        Candidate::Bare | Candidate::BareAgain | Candidate::SetUp => app,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .expect("it starts");
    runtime.spawn(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        println!("port {}", listener.local_addr().expect("it is bound").port());
        std::io::stdout().flush().expect("the output is open");
        axum::serve(listener, app).await.expect("it serves");
    });
    std::io::read_to_string(std::io::stdin()).expect("the input is open");
    if let Some((telemetry, metrics)) = telemetry {
        let duration = |name: &str| name == "http.server.request.duration";
        let points = metrics.points();
        let durations: f64 =
            points.iter().filter(|point| duration(&point.name)).map(|point| point.value).sum();
        println!("durations {durations}");
        telemetry.shutdown_blocking(Duration::from_secs(10));
    }
    if let Some(oxtel) = oxtel {
        oxtel.flush();
        println!("durations {}", oxtel.recordings("http.server.request.duration"));
        exported.store(oxtel.spans(), Ordering::Relaxed);
    }
    println!("spans {}", exported.load(Ordering::Relaxed));
}

/// Sets the SDK up as an application does, with an exporter that discards spans and a reader that does not collect.
fn set_up(exported: &Arc<AtomicU64>) -> (Telemetry, Metrics) {
    let metrics = Metrics::default();
    let reader = metrics.reader();
    let telemetry = Telemetry::builder()
        .with_env([] as [(String, String); 0])
        .with_exporters(Exporter::None)
        .with_span_exporter(Discard(Arc::clone(exported)))
        .map_meter_provider(|builder| builder.with_reader(reader).with_view(benchmarks::sdk::without_sizes))
        .without_subscriber()
        .init();
    (telemetry.expect("the options are valid"), metrics)
}

/// Counts spans and discards them.
#[derive(Debug)]
struct Discard(Arc<AtomicU64>);

impl SpanExporter for Discard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// A fixed amount of work: a fixed time would shrink when the thread is preempted.
fn spin(times: u64) {
    let mut value = 1_u64;
    for _ in 0..times {
        value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Returns the number of spins that take the time of the handler on a processor of its own: the fastest of several runs.
pub(crate) fn calibrate() -> u64 {
    const TIMES: u64 = 1_000_000;
    let run = |_| {
        let started = Instant::now();
        spin(TIMES);
        started.elapsed()
    };
    let fastest = (0..20).map(run).min().unwrap_or_default();
    (SPIN.as_secs_f64() / fastest.as_secs_f64() * TIMES as f64) as u64
}
