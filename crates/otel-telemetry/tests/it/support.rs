//! Exporters with selectable behaviour, and a collector that never responds.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_telemetry::{Exporter, Telemetry, TelemetryBuilder};

/// The behaviour of a [`Told`] exporter for a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    Accept = 0,
    Fail = 1,
    Hang = 2,
    Panic = 3,
    /// Accepts after 20 ms.
    Slow = 4,
}

/// A span exporter with selectable behaviour that keeps the accepted spans.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    does: Arc<AtomicU8>,
    pub(crate) spans: Arc<Mutex<Vec<SpanData>>>,
    pub(crate) largest: Arc<AtomicUsize>,
}

impl Told {
    pub(crate) fn to(does: Does) -> Self {
        let told = Self::default();
        told.tell(does);
        told
    }

    pub(crate) fn tell(&self, does: Does) {
        self.does.store(does as u8, Ordering::SeqCst);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.spans.lock().unwrap().len() as u64
    }
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.largest.fetch_max(batch.len(), Ordering::SeqCst);
        match self.does.load(Ordering::SeqCst) {
            1 => return Err(OTelSdkError::InternalFailure("told to".into())),
            2 => std::future::pending().await,
            3 => panic!("told to"),
            4 => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => {}
        }
        self.spans.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// Returns a builder that uses neither the environment nor the network.
pub(crate) fn quiet() -> TelemetryBuilder {
    Telemetry::builder().with_service_name("test").with_env::<&str, &str>([]).with_exporters(Exporter::None)
}

pub(crate) fn end_spans(telemetry: &Telemetry, spans: u64) {
    let tracer = telemetry.tracer_provider().tracer("test");
    for _ in 0..spans {
        tracer.start("span").end();
    }
}

/// A collector that accepts connections and never responds.
pub(crate) struct Hanging {
    _listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Hanging {
    pub(crate) fn start() -> Self {
        // The system accepts connections up to the backlog without a call of `accept`.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self { _listener: listener, address }
    }
}
