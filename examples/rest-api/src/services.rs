//! Start and shutdown of both services, with their sockets and their telemetry.
//!
//! A process with a single service calls `init` instead of `build`. `init` installs the global providers and the
//! propagator, so that `new()` is enough to build a layer. This process runs two services with different values of
//! `service.name`, so each builds its own telemetry and passes it to its layers.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use opentelemetry_sdk::metrics::PeriodicReader;
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_telemetry::{Exporter, SetupError, ShutdownSignal, Telemetry};
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::AccountsClient;
use crate::console::Console;
use crate::{accounts, users};

/// The export interval of metrics. It is long, because metrics are printed at shutdown.
const METRICS_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The two running services.
pub(crate) struct Services {
    /// The address of the users API.
    pub(crate) users: SocketAddr,
    /// The address of the accounts API.
    pub(crate) accounts: SocketAddr,
    pub(crate) open_spans: OpenSpans,
    waterfall: Waterfall,
    telemetry: [Telemetry; 2],
    servers: JoinSet<io::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Services {
    /// Starts both services, the users API on the given port; 0 selects a free one.
    pub(crate) async fn start(port: u16, waterfall: &Waterfall) -> Result<Self, Box<dyn Error>> {
        let open_spans = OpenSpans::default();
        let users = telemetry("users", waterfall, &open_spans)?;
        let accounts = telemetry("accounts", waterfall, &open_spans)?;
        // The propagator is global, and the same for both services.
        otel_propagation::set_global(users.propagator().clone());

        let accounts_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let users_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let accounts_address = accounts_listener.local_addr()?;
        let users_address = users_listener.local_addr()?;
        let client = AccountsClient::new(accounts_address, &client_layer(&users));

        let stop = watch::Sender::new(false);
        let mut servers = JoinSet::new();
        servers.spawn(serve(accounts_listener, accounts::router(&server_layer(&accounts)), stop.subscribe()));
        servers.spawn(serve(users_listener, users::router(client, &server_layer(&users)), stop.subscribe()));
        Ok(Self {
            users: users_address,
            accounts: accounts_address,
            open_spans,
            waterfall: waterfall.clone(),
            telemetry: [users, accounts],
            servers,
            stop,
        })
    }

    /// Resolves at SIGTERM or Ctrl-C.
    pub(crate) fn shutdown_signal(&self) -> ShutdownSignal {
        let [users, _] = &self.telemetry;
        users.shutdown_on_signal()
    }

    /// Waits for the requests in flight, then draws the remaining traces and shuts the telemetry down.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for result in self.servers.join_all().await {
            if let Err(error) = result {
                eprintln!("error: server failed: {error}");
            }
        }
        self.waterfall.flush();
        for telemetry in self.telemetry {
            // Export failures are logged as warnings.
            telemetry.shutdown().await;
        }
    }
}

/// Builds the telemetry of one service: traces are drawn and metrics printed, and both are also exported if the
/// environment configures an OTLP endpoint.
fn telemetry(
    service: &'static str,
    waterfall: &Waterfall,
    open_spans: &OpenSpans,
) -> Result<Telemetry, SetupError> {
    let (waterfall, open_spans) = (waterfall.exporter(), open_spans.clone());
    Telemetry::builder()
        .with_service_name(service)
        .with_service_version(env!("CARGO_PKG_VERSION"))
        .with_exporters(Exporter::OtlpIfConfigured)
        // The exporter comes before `open_spans`, so that a span has been exported when it counts as closed.
        .map_tracer_provider(|traces| traces.with_simple_exporter(waterfall).with_span_processor(open_spans))
        .map_meter_provider(|metrics| {
            metrics.with_reader(PeriodicReader::builder(Console).with_interval(METRICS_INTERVAL).build())
        })
        .build()
}

/// The layer that records inbound requests.
fn server_layer(telemetry: &Telemetry) -> ServerLayer {
    ServerLayer::new()
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
}

/// The layer that records outbound requests.
fn client_layer(telemetry: &Telemetry) -> ClientLayer {
    ClientLayer::new()
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
}

async fn serve(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    // Adds the peer's address to the request's extensions, from which spans take `client.address`.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
}
