//! Both services with their sockets and their telemetry: started together, ended together.
//!
//! A service that is alone in its process calls `init` instead of `build`, which installs the providers and the
//! propagator, and makes its layers with `new()` alone. Here are two services in one process, each with a `service.name`
//! of its own, so each has its telemetry and gives it to its layers.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use opentelemetry_sdk::metrics::PeriodicReader;
use otel_http::{ClientLayer, ServerLayer};
use otel_telemetry::{Exporter, SetupError, ShutdownSignal, Telemetry};
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::AccountsClient;
use crate::console::Console;
use crate::{accounts, users};

/// Metrics are printed when the program ends; whoever waits this long for them earlier gets them, too.
const METRICS_EVERY: Duration = Duration::from_secs(60 * 60);

/// Two services that are running.
pub(crate) struct Services {
    /// Where the users API listens.
    pub(crate) users: SocketAddr,
    /// Where the accounts API listens.
    pub(crate) accounts: SocketAddr,
    pub(crate) open_spans: OpenSpans,
    waterfall: Waterfall,
    telemetry: [Telemetry; 2],
    servers: JoinSet<io::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Services {
    /// Starts both, the users API on this port, or a free one if it is 0.
    pub(crate) async fn start(port: u16, waterfall: &Waterfall) -> Result<Self, Box<dyn Error>> {
        let open_spans = OpenSpans::default();
        let users = telemetry("users", waterfall, &open_spans)?;
        let accounts = telemetry("accounts", waterfall, &open_spans)?;
        // How context travels between services; one for the process.
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
    pub(crate) fn told_to_stop(&self) -> ShutdownSignal {
        let [users, _] = &self.telemetry;
        users.shutdown_on_signal()
    }

    /// Lets what is running finish, then draws, prints and exports what is left.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for ended in self.servers.join_all().await {
            if let Err(error) = ended {
                eprintln!("a server did not end well: {error}");
            }
        }
        self.waterfall.flush();
        for telemetry in self.telemetry {
            // What did not end well is in the log, as a warning.
            telemetry.shutdown().await;
        }
    }
}

/// The telemetry of one service: its traces are drawn, its metrics printed, and all of it goes to a collector, too, if the
/// environment says where one is.
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
        // The exporter first: a span that is no longer open has been drawn.
        .map_tracer_provider(|traces| traces.with_simple_exporter(waterfall).with_span_processor(open_spans))
        .map_meter_provider(|metrics| {
            metrics.with_reader(PeriodicReader::builder(Console).with_interval(METRICS_EVERY).build())
        })
        .build()
}

/// What records the requests that a service answers.
fn server_layer(telemetry: &Telemetry) -> ServerLayer {
    ServerLayer::new()
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
}

/// What records the requests that a service makes.
fn client_layer(telemetry: &Telemetry) -> ClientLayer {
    ClientLayer::new()
        .with_tracer_provider(telemetry.tracer_provider())
        .with_meter_provider(telemetry.meter_provider())
}

async fn serve(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    // With the peer's address among a request's extensions, spans carry `client.address`.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
}
