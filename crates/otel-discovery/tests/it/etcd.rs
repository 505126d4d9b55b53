//! The registry in etcd, against a real server.

mod outage;
mod server;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use opentelemetry::trace::SpanKind;
use otel_discovery::{
    BalanceOptions, Endpoints, EtcdRegistry, Health, Lease, Registration, Registry, RegistryError,
};
use otel_testing::{Recorder, service};

use crate::support::{Instances, attribute, call, chosen, endpoint, error_type, until, watch_options};
use server::{Server, delete, post, put, registry, setting};

/// The shortest lease that etcd has.
const LEASE: Duration = Duration::from_secs(2);

/// The variable with the name of the service of a process of its own.
const INSTANCE: &str = "OTEL_DISCOVERY_TEST_SERVICE";

async fn register(registry: &EtcdRegistry, service: &str, id: &str, port: u16) -> Lease {
    let endpoint = endpoint(id, port).with_weight(3).with_metadata("zone", "eu-1").unwrap();
    registry.register(Registration::new(service, endpoint).with_lease(LEASE)).await.unwrap()
}

fn watch(recorder: &Recorder, registry: &EtcdRegistry, service: &str) -> Endpoints {
    Endpoints::watch(registry.clone(), service.to_owned(), watch_options(recorder))
}

fn ids(endpoints: &Endpoints) -> Vec<String> {
    endpoints.current().iter().map(|one| one.id().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_disappears_within_its_lease() {
    let recorder = Recorder::new();
    if let Ok(service) = std::env::var(INSTANCE) {
        let registry = registry(&recorder, &setting("ETCD_URL"));
        let _lease = register(&registry, &service, &format!("{}", std::process::id()), 1).await;
        println!("registered");
        return std::future::pending().await;
    }
    let service = service::unique_name("stock");
    let start = || {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "etcd::a_killed_process_disappears_within_its_lease", "--nocapture"])
            .env(INSTANCE, &service)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("registered")));
        (child, lines)
    };
    let ((mut killed, _lines), (mut other, _other_lines)) = (start(), start());
    let registry = registry(&recorder, &setting("ETCD_URL"));
    let endpoints = watch(&recorder, &registry, &service);
    until(|| ids(&endpoints).len() == 2).await;
    // Renewals keep both beyond their leases.
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(ids(&endpoints).len(), 2);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = Instant::now();
    until(|| ids(&endpoints) == [other.id().to_string()]).await;
    // etcd looks for leases that are over twice a second; the rest is for a busy machine.
    assert!(before.elapsed() < LEASE * 5, "{:?}", before.elapsed());
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    for _ in 0..3 {
        call(&client).await.unwrap();
    }
    assert!(chosen(&recorder.spans()).iter().all(|id| *id == other.id().to_string()));
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_change_and_end() {
    let (recorder, service) = (Recorder::new(), service::unique_name("stock"));
    let url = setting("ETCD_URL");
    let registry = registry(&recorder, &url).with_prefix("services/");
    let a = register(&registry, &service, "a", 1).await;
    let endpoints = watch(&recorder, &registry, &service);
    assert!(endpoints.ready().await);
    let b = register(&registry, &service, "b/1 x", 2).await;
    // A lease that is as long as can be, and the keys of a service whose name begins alike.
    let endless = Registration::new(service.clone(), endpoint("z", 9)).with_lease(Duration::MAX);
    registry.register(endless).await.unwrap().deregister().await.unwrap();
    let _other = register(&registry, &format!("{service}2"), "c", 3).await;
    until(|| ids(&endpoints) == ["a", "b/1 x"]).await;
    let one = &endpoints.current()[0];
    assert_eq!((one.host(), one.port(), one.weight()), ("10.0.0.1", 1, 3));
    assert_eq!((one.metadata()["zone"].as_str(), one.health()), ("eu-1", Health::Healthy));
    for health in [Health::Unhealthy, Health::Healthy] {
        a.set_health(health);
        until(|| endpoints.current()[0].health() == health).await;
    }
    let before = Instant::now();
    b.deregister().await.unwrap();
    until(|| ids(&endpoints) == ["a"]).await;
    assert!(before.elapsed() < LEASE, "without a wait for the lease: {:?}", before.elapsed());
    let answer = registry.resolve(&service).await.unwrap();
    assert_eq!(answer.endpoints.iter().map(|one| one.id()).collect::<Vec<_>>(), ["a"]);
    until(|| {
        recorder.metric("discovery.lease.renewals").with("service.peer.name", service.clone()).sum() >= 2.0
    })
    .await;
    assert_eq!(
        recorder.metric("discovery.lease.renewals").without("error.type").sum(),
        recorder.metric("discovery.lease.renewals").sum()
    );
    drop((a, endpoints));

    recorder.assert_clean();
    let mut names: Vec<_> = recorder.spans().iter().map(|span| span.name.to_string()).collect();
    names.retain(|name| name.ends_with(&service));
    let expected = ["register", "watch", "register", "register", "deregister", "deregister", "resolve"];
    assert_eq!(names, expected.map(|verb| format!("{verb} {service}")));
    let span = recorder.span(&format!("resolve {service}"));
    assert_eq!(span.span_kind, SpanKind::Client);
    for (key, value) in [
        ("server.address", "127.0.0.1"),
        ("server.port", url.rsplit_once(':').unwrap().1),
        ("service.peer.name", &service),
        ("discovery.registry", "etcd"),
        ("discovery.answer.endpoints", "1"),
    ] {
        assert_eq!(attribute(&span, key).unwrap().to_string(), value, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_registrations_are_left_out_and_counted() {
    let (recorder, service) = (Recorder::new(), service::unique_name("stock"));
    let url = setting("ETCD_URL");
    let put = async |key: &str, value: &str| {
        put(&url, format!("{service}/{key}"), value).await;
    };
    let good = r#"{"Op":0,"Addr":"10.0.0.9:80","Metadata":null}"#;
    put("a", good).await;
    put("garbage", "<script>").await;
    put("host", r#"{"Addr":"a b:80"}"#).await;
    put("", good).await;
    put("a\nb", good).await;
    server::put(&url, [service.as_bytes(), b"/\xff"].concat(), good).await;
    let endpoints = watch(&recorder, &registry(&recorder, &url), &service);
    assert!(endpoints.ready().await);
    assert_eq!(ids(&endpoints), ["a"]);
    let rejected =
        || recorder.metric("discovery.rejected_endpoints").with("service.peer.name", service.clone()).sum();
    assert_eq!(rejected(), 5.0);
    // The same in changes: one that was valid is gone.
    put("b", good).await;
    until(|| ids(&endpoints) == ["a", "b"]).await;
    put("a", r#"{"Addr":"10.0.0.9:0"}"#).await;
    until(|| ids(&endpoints) == ["b"]).await;
    assert_eq!(rejected(), 6.0);
    put("a", good).await;
    until(|| ids(&endpoints) == ["a", "b"]).await;
    assert_eq!(recorder.metric("discovery.watch.restarts").sum(), 0.0, "no watch was ended by them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_all_is_believed_on_request() {
    let (recorder, service) = (Recorder::new(), service::unique_name("stock"));
    let url = setting("ETCD_URL");
    let registry = registry(&recorder, &url);
    let [a, b] = ["a", "b"].map(|id| format!("{service}/{id}"));
    for key in [&a, &b] {
        put(&url, key, r#"{"Addr":"10.0.0.9:80"}"#).await;
    }
    let kept = watch(&recorder, &registry, &service);
    let options = watch_options(&recorder).with_empty_as_gone(true);
    let exact = Endpoints::watch(registry.clone(), service.clone(), options);
    until(|| ids(&kept).len() == 2 && ids(&exact).len() == 2).await;
    for key in [&a, &b] {
        delete(&url, key).await;
    }
    until(|| ids(&exact).is_empty() && kept.stale_time().is_some()).await;
    assert_eq!(exact.stale_time(), None);
    let client = Instances::default().client(&recorder, &kept, BalanceOptions::new());
    call(&client).await.unwrap();
    let span = recorder.span("GET");
    assert!(attribute(&span, "discovery.stale_time").is_some());
    // The next instance replaces those that were kept.
    put(&url, format!("{service}/c"), r#"{"Addr":"10.0.0.9:80"}"#).await;
    until(|| ids(&kept) == ["c"] && ids(&exact) == ["c"]).await;
    assert_eq!(kept.stale_time(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_authenticated() {
    let (recorder, mut server) = (Recorder::new(), Server::start().await);
    let url = server.url();
    post(&url, "auth/user/add", serde_json::json!({ "name": "root", "password": "right-secret" })).await;
    post(&url, "auth/user/grant", serde_json::json!({ "user": "root", "role": "root" })).await;
    post(&url, "auth/enable", serde_json::json!({})).await;
    let with = |password| registry(&recorder, &url).with_credentials("root", password);

    let registry_with = with("right-secret");
    let lease = register(&registry_with, "stock", "a", 1).await;
    let endpoints = watch(&recorder, &registry_with, "stock");
    until(|| ids(&endpoints) == ["a"]).await;
    let failed =
        async |registry: EtcdRegistry| -> RegistryError { registry.resolve("stock").await.unwrap_err() };
    let error = failed(with("wrong-secret")).await;
    assert_eq!(error.error_type(), "permission_denied");
    assert!(error.to_string().starts_with("registry etcd: cannot resolve service stock: "), "{error}");
    let spans = recorder.spans();
    let span = spans.iter().find(|span| span.name == "resolve stock").unwrap();
    assert_eq!(error_type(span).as_deref(), Some("permission_denied"));
    let anonymous = failed(registry(&recorder, &url)).await;
    assert_eq!(anonymous.error_type(), "rejected");
    // Its tokens are forgotten in a restart.
    server.stop();
    until(|| endpoints.stale_time().is_some()).await;
    server.restart().await;
    until(|| endpoints.stale_time().is_none()).await;
    assert_eq!(registry_with.resolve("stock").await.unwrap().endpoints.len(), 1);
    let shown = format!("{registry_with:?}{error:?}{anonymous:?}{}", recorder.tree());
    assert!(!shown.contains("-secret"), "{shown}");
    lease.deregister().await.unwrap();
}
