//! The shutdown of an application in steps.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use otel_telemetry::{ShutdownPhase, Telemetry};
use otel_testing::{ExporterBehavior, ScriptedExporter};

use crate::support::{end_spans, quiet};

type Order = Arc<Mutex<Vec<&'static str>>>;

async fn stop(order: Order, name: &'static str, pause: Duration) -> Result<(), String> {
    tokio::time::sleep(pause).await;
    order.lock().unwrap().push(name);
    Ok(())
}

fn telemetry() -> (Telemetry, ScriptedExporter) {
    let exporter = ScriptedExporter::new(ExporterBehavior::Accept);
    (quiet().with_span_exporter(exporter.clone()).build().unwrap(), exporter)
}

#[tokio::test]
async fn phases_run_in_order_and_the_steps_of_one_concurrently() {
    let (telemetry, exporter) = telemetry();
    let order = Order::default();
    let step = |name, millis| stop(Arc::clone(&order), name, Duration::from_millis(millis));
    let health = telemetry.health();
    let tracer = telemetry.tracer_provider().clone();
    let report = telemetry
        .shutdown_steps()
        .with_pool("postgres", async move {
            // Work of a late step is exported by the telemetry's.
            tracer.tracer("test").start("close").end();
            Ok::<_, String>(())
        })
        .with_consumer("orders", step("orders", 0))
        .with_server("slow", step("slow", 2000))
        .with_server("fast", step("fast", 50))
        .run()
        .await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(*order.lock().unwrap(), ["fast", "slow", "orders"]);
    let steps: Vec<_> = report.steps.iter().map(|step| (step.phase, &*step.name)).collect();
    let expected = [
        (ShutdownPhase::Servers, "slow"),
        (ShutdownPhase::Servers, "fast"),
        (ShutdownPhase::Consumers, "orders"),
        (ShutdownPhase::Pools, "postgres"),
        (ShutdownPhase::Telemetry, "export"),
    ];
    assert_eq!(steps, expected);
    assert!(report.steps[0].took >= Duration::from_secs(2));
    assert!(report.steps[1].took < Duration::from_secs(2), "{report}");
    assert!(!health.ready().await.is_serving());
    assert_eq!((report.telemetry.spans.accepted, exporter.accepted()), (1, 1));
}

/// A server that hangs, one that blocks a thread of the runtime, one that fails and one that panics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_deadline_holds_whatever_the_steps_do() {
    let (telemetry, exporter) = telemetry();
    end_spans(&telemetry, 3);
    let (_never, released) = std::sync::mpsc::channel::<()>();
    let (never, blocked) = std::sync::mpsc::channel::<()>();
    let start = Instant::now();
    let report = telemetry
        .shutdown_steps()
        .with_deadline(Duration::from_secs(3))
        .with_server("hanging", std::future::pending::<Result<(), String>>())
        .with_server("blocking", async move {
            let _ = blocked.recv();
            Ok::<_, String>(())
        })
        .with_consumer("failing", async { Err("no broker") })
        .with_pool("panicking", async {
            assert!(std::hint::black_box(false));
            Ok::<_, String>(())
        })
        .run()
        .await;
    let took = start.elapsed();
    drop((never, released));
    assert!(took < Duration::from_secs(6), "{took:?}");
    let errors: Vec<_> = report.steps.iter().filter_map(|step| step.error.as_deref()).collect();
    // A quarter of the deadline.
    assert!(errors[..2].iter().all(|error| error.starts_with("not finished within 7")), "{errors:?}");
    assert_eq!(errors[2..], ["no broker", "it panicked"]);
    assert!(report.telemetry.is_complete(), "{report}");
    assert_eq!(exporter.accepted(), 3);
}
