//! The registry in a file: it is read again when it changes, and a file that is broken changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use otel_discovery::{BalanceOptions, Endpoints, FileRegistry, Health, Registry};
use otel_testing::Recorder;

use crate::support::{Instances, attribute, call, chosen, until, watch_options};

/// A file of its own, which is removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("otel-discovery-{}-{name}.json", std::process::id())))
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn registry(&self) -> FileRegistry {
        FileRegistry::new(&self.0).with_interval(Duration::from_millis(5))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (recorder, file) = (Recorder::new(), File::new("changes"));
    let endpoints = Endpoints::watch(file.registry(), "stock", watch_options(&recorder));
    assert!(!endpoints.ready().await, "there is no file yet");
    file.write(r#"{"stock": [{"address": "10.0.0.1:80", "id": "a"}], "other": [{"address": "x"}]}"#);
    until(|| !endpoints.current().is_empty()).await;
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    call(&client).await.unwrap();

    file.write(r#"{"stock": [{"address": "10.0.0.1:80"#);
    until(|| endpoints.stale_time().is_some()).await;
    call(&client).await.unwrap();
    let restarts = recorder.metric("discovery.watch.restarts").with("error.type", "malformed");
    assert!(restarts.sum() >= 1.0);

    file.write(
        r#"{"stock": [
            {"address": "10.0.0.2:80", "id": "b", "weight": 7, "healthy": false, "metadata": {"zone": "eu"}},
            {"address": "nonsense"}, {"id": "c"}, 7, {"address": "10.0.0.3:80", "weight": "heavy"}
        ]}"#,
    );
    until(|| endpoints.stale_time().is_none()).await;
    let current = endpoints.current();
    assert_eq!(current.len(), 1);
    let one = &current[0];
    assert_eq!((one.id(), one.weight(), one.health()), ("b", 7, Health::Unhealthy));
    assert_eq!(one.metadata()["zone"], "eu");
    assert_eq!(recorder.metric("discovery.rejected_endpoints").sum(), 4.0);
    until(|| {
        recorder.metric("discovery.endpoints").with("discovery.endpoint.state", "unhealthy").sum() > 0.0
    })
    .await;
    call(&client).await.unwrap();

    let spans = recorder.spans();
    assert_eq!(spans.len(), 3, "a file is no look-up that goes out: {}", recorder.tree());
    assert_eq!(chosen(&spans), ["a", "a", "b"]);
    let stale: Vec<_> = spans.iter().map(|span| attribute(span, "discovery.stale_time").is_some()).collect();
    assert_eq!(stale, [false, true, false]);
}

#[tokio::test]
async fn a_file_is_resolved_on_request() {
    let file = File::new("resolve");
    let error = file.registry().resolve("stock").await.unwrap_err();
    assert_eq!(error.error_type(), "not_found");
    assert!(error.to_string().starts_with("registry file /"), "{error}");
    file.write(r#"{"stock": [{"address": "[::1]:80"}]}"#);
    let answer = file.registry().resolve("stock").await.unwrap();
    assert_eq!(answer.endpoints[0].id(), "[::1]:80");
    assert!(file.registry().resolve("other").await.unwrap().endpoints.is_empty());
}
