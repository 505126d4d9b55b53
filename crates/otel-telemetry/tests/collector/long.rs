//! A collector that is stopped and started again while spans end: none is lost.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{Exporter, Signal, Telemetry};
use otel_testing::service::unique_name;

use crate::cut_off::wait_for_printed;
use crate::setting;

/// The time between the ends of two spans: 150 a second.
const PACE: Duration = Duration::from_nanos(1_000_000_000 / 150);

/// The spans that end before a stop, and while the collector is away.
const UP: u64 = 300;
const AWAY: u64 = 450;

/// A collector of this test's own, which keeps its ports and its log over restarts.
struct Rotel {
    folder: PathBuf,
    grpc: String,
    http: String,
    process: Child,
}

impl Rotel {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(unique_name("otel-telemetry-collector"));
        fs::create_dir_all(&folder).unwrap();
        // Both are bound before the first is released, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [grpc, http] = free.map(|listener| listener.local_addr().unwrap().to_string());
        let process = run(&folder, &grpc, &http);
        Self { folder, grpc, http, process }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Stops it by SIGTERM, on which it prints the rest of what it has accepted, and waits for its end.
    fn stop(&mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("sh").args(["-c", r#"kill -s TERM "$0""#, &id]).status().unwrap().success());
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = run(&self.folder, &self.grpc, &self.http);
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        // Errors are ignored: the process may have exited, and the folder is in the system's temporary folder.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(folder: &Path, grpc: &str, http: &str) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(setting("COLLECTOR_SERVER"));
    command.args(["start", "--exporter", "blackhole", "--debug-log", "traces"]);
    command.args(["--debug-log-verbosity", "detailed"]);
    command.args(["--otlp-grpc-endpoint", grpc, "--otlp-http-endpoint", http]);
    // The settings of this program in the environment are meant for a different instance.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROTEL_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

async fn restarts(protocol: &str) {
    let mut collector = Rotel::start();
    let address = if protocol == "grpc" { &collector.grpc } else { &collector.http };
    let name = unique_name("restarted") + "-";
    let telemetry = Telemetry::builder()
        .with_exporters(Exporter::None)
        .with_exporter(Signal::Traces, Exporter::Otlp)
        .with_env([
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
            // An export is always under way.
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ])
        .strict_env()
        .build()
        .unwrap();
    let tracer = telemetry.tracer_provider().tracer("restarts");
    let mut ended = 0;
    let mut pace = tokio::time::interval(PACE);
    let mut end = async |spans: u64| {
        for number in ended..ended + spans {
            pace.tick().await;
            tracer.start(format!("{name}{number}")).end();
        }
        ended += spans;
    };

    for _ in 0..2 {
        end(UP).await;
        collector.stop();
        end(AWAY).await;
        let counts = telemetry.span_counts();
        assert!(counts.pending >= AWAY, "the collector was not away: {counts:?}");
        collector.restart();
    }
    end(UP).await;
    let report = telemetry.shutdown_within(Duration::from_secs(30)).await;
    assert!(report.is_complete(), "{report}");
    let counts = report.spans;
    assert_eq!((counts.ended, counts.accepted, counts.pending), (ended, ended, 0), "{counts:?}");
    assert_eq!(wait_for_printed(&collector.log(), &name, ended).await, ended);
}

#[tokio::test]
async fn over_grpc() {
    restarts("grpc").await;
}

#[tokio::test]
async fn over_http() {
    restarts("http/protobuf").await;
}
