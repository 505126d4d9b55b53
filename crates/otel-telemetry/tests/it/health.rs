//! Health: named checks with their own timeouts, and exporters as a detail.

use std::time::Duration;

use otel_telemetry::HealthStatus;

use crate::support::{end_spans, quiet};
use otel_testing::{ExporterBehavior, ScriptedExporter};

#[tokio::test]
async fn each_check_is_judged_on_its_own() {
    let telemetry = quiet().build().unwrap();
    let health = telemetry.health();
    assert_eq!(health.ready().await.status, HealthStatus::Up);
    let second = Duration::from_secs(1);
    health.add_check("good", second, || async { Ok::<_, String>(()) });
    health.add_check("bad", second, || async { Err("no route") });
    health.add_check("slow", Duration::from_millis(5), std::future::pending::<Result<(), String>>);
    health.add_check("panics", second, || async {
        assert!(std::hint::black_box(false));
        Ok::<_, String>(())
    });
    let report = health.ready().await;
    assert!(!report.is_serving());
    let detail = |name: &str| {
        let detail = &report.details[name];
        (detail.status, detail.reason.clone().unwrap_or_default())
    };
    assert_eq!(detail("good"), (HealthStatus::Up, String::new()));
    assert_eq!(detail("bad"), (HealthStatus::Down, "no route".into()));
    assert_eq!(detail("slow"), (HealthStatus::Down, "no answer within 5ms".into()));
    assert_eq!(detail("panics"), (HealthStatus::Down, "the check panicked".into()));
    assert!(health.live().is_serving(), "a bad dependency is no reason to restart");

    for name in ["bad", "slow", "panics"] {
        health.add_check(name, second, || async { Ok::<_, String>(()) });
    }
    assert_eq!(health.ready().await.status, HealthStatus::Up, "replaced by name");
}

#[tokio::test]
async fn a_failing_exporter_is_a_detail_and_never_takes_the_service_down() {
    let exporter = ScriptedExporter::new(ExporterBehavior::Fail);
    let telemetry = quiet().with_span_exporter(exporter.clone()).build().unwrap();
    end_spans(&telemetry, 1);
    assert!(telemetry.flush().await.is_err());
    let report = telemetry.health().ready().await;
    assert_eq!(report.status, HealthStatus::Degraded);
    assert!(report.is_serving());
    assert!(report.details.contains_key("exporter.traces"));

    exporter.set_behavior(ExporterBehavior::Accept);
    end_spans(&telemetry, 1);
    telemetry.flush().await.unwrap();
    assert_eq!(telemetry.health().ready().await.status, HealthStatus::Up);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_router_answers_with_status_and_json() {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    let telemetry = quiet().build().unwrap();
    let health = telemetry.health();
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = health.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let up = r#"{"status":"up","details":{}}"#;
    assert_eq!(ask("/readyz").await, (200, up.to_owned()));
    health.begin_shutdown();
    assert_eq!(
        ask("/readyz").await,
        (
            503,
            r#"{"status":"down","details":{"shutdown":{"status":"down","reason":"shutting down"}}}"#
                .to_owned()
        )
    );
    assert_eq!(ask("/livez").await, (200, up.to_owned()));
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn the_grpc_service_answers_and_tells_watchers_of_the_shutdown() {
    use futures_util::StreamExt;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let telemetry = quiet().build().unwrap();
    let health = telemetry.health();
    // The generated client accepts any service, so that no socket is needed.
    let mut client = HealthClient::new(health.grpc_service());
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let status = client.check(ask("")).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::Serving);
    let unknown = client.check(ask("orders")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    let mut watched = client.watch(ask("readiness")).await.unwrap().into_inner();
    let first = watched.next().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    health.begin_shutdown();
    let second = watched.next().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    let live = client.check(ask("liveness")).await.unwrap().into_inner();
    assert_eq!(live.status(), ServingStatus::Serving);
}
