//! Two services with their sidecars, as processes.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::envoy::{Ports, Tracer, configuration};

/// The longest wait for a process to be ready, and for spans.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The settings of both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) tracer: Tracer,
    /// The percentage of the traces without a decision that a sidecar samples.
    pub(crate) sidecar_samples: u8,
    /// `OTEL_PROPAGATORS` of the services.
    pub(crate) propagators: &'static str,
    /// `OTEL_TRACES_SAMPLER` of the services.
    pub(crate) sampler: &'static str,
}

impl Settings {
    /// Returns true if no trace gets past a sidecar: the OpenTelemetry tracer of one that samples nothing marks the traces of others
    /// as not sampled as well.
    pub(crate) fn cuts_traces(self) -> bool {
        self.tracer == Tracer::OpenTelemetry && self.sidecar_samples == 0
    }
}

/// The service `shop`, which calls the service `stock` through both sidecars. The processes are killed on drop.
pub(crate) struct Pair {
    /// The sidecar of `shop`, as the rest of the mesh reaches it.
    pub(crate) sidecar: String,
    /// `shop` itself.
    pub(crate) application: String,
    _processes: Vec<Child>,
}

impl Pair {
    pub(crate) async fn start(envoy: &Path, receiver: u16, settings: Settings) -> Result<Self> {
        let [shop, shop_in, shop_out, shop_admin, stock, stock_in, stock_out, stock_admin] =
            free_ports().await?;
        let of_shop = Ports {
            inbound: shop_in,
            outbound: shop_out,
            admin: shop_admin,
            application: shop,
            next: stock_in,
            receiver,
        };
        let of_stock = Ports {
            inbound: stock_in,
            outbound: stock_out,
            admin: stock_admin,
            application: stock,
            next: shop_in,
            receiver,
        };
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let processes = vec![
            service("stock", stock, None, receiver, settings).await?,
            service("shop", shop, Some(url(shop_out)), receiver, settings).await?,
            sidecar(envoy, "stock", of_stock, settings).await?,
            sidecar(envoy, "shop", of_shop, settings).await?,
        ];
        Ok(Self { sidecar: url(shop_in), application: url(shop), _processes: processes })
    }
}

/// Returns ports that are free at the moment of the call.
async fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Starts a service, whose program is beside this one, and waits until it listens.
async fn service(
    name: &str,
    port: u16,
    next: Option<String>,
    receiver: u16,
    settings: Settings,
) -> Result<Child> {
    let path = std::env::current_exe()?.with_file_name("mesh-service");
    let mut child = Command::new(&path)
        .arg(name)
        .arg(format!("127.0.0.1:{port}"))
        .args(next)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{receiver}"))
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("OTEL_LOGS_EXPORTER", "none")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_PROPAGATORS", settings.propagators)
        .env("OTEL_TRACES_SAMPLER", settings.sampler)
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}; build it with `cargo build -p mesh`", path.display()))?;
    let stdout = child.stdout.take().context("a process without output")?;
    let line = timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
    if line.with_context(|| format!("{name} is not ready"))??.as_deref() != Some("ready") {
        bail!("{name} did not start");
    }
    Ok(child)
}

/// Starts a sidecar, and waits until it is ready.
async fn sidecar(envoy: &Path, name: &str, ports: Ports, settings: Settings) -> Result<Child> {
    let configuration = configuration(name, ports, settings.tracer, settings.sidecar_samples);
    let path = std::env::temp_dir().join(format!("mesh-{}-{name}.json", std::process::id()));
    fs::write(&path, configuration.to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    let child = Command::new(envoy)
        .arg("--config-path")
        .arg(&path)
        .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", envoy.display()))?;
    let url = format!("http://127.0.0.1:{}/ready", ports.admin);
    let is_ready = async {
        while !reqwest::get(&url).await.is_ok_and(|response| response.status().is_success()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let is_ready = timeout(PATIENCE, is_ready).await;
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    is_ready.with_context(|| format!("the sidecar of {name} is not ready"))?;
    Ok(child)
}
