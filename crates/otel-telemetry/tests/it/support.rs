//! A builder for tests, and a collector that never responds.

use std::net::{SocketAddr, TcpListener};

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{Exporter, Telemetry, TelemetryBuilder};

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
