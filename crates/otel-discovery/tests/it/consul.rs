//! The registry in Consul, against a server of its protocol in the test, or Consul itself.

mod agent;
mod server;

use std::time::{Duration, Instant};

use opentelemetry::trace::SpanKind;
use otel_discovery::{BalanceOptions, Endpoints, Health, Lease, Registration, Registry};
use otel_testing::Recorder;
use serde_json::json;

use crate::support::{Instances, attribute, call, chosen, endpoint, error_type, until, watch_options};
use server::{Server, TOKEN};

const LEASE: Duration = Duration::from_secs(2);

async fn register(recorder: &Recorder, server: &Server, id: &str, port: u16) -> Lease {
    let endpoint = endpoint(id, port).with_weight(3).with_metadata("zone", "eu-1").unwrap();
    let registration = Registration::new("stock", endpoint).with_lease(LEASE);
    server.registry(recorder).register(registration).await.unwrap()
}

fn watch(recorder: &Recorder, server: &Server) -> Endpoints {
    Endpoints::watch(server.registry(recorder), "stock", watch_options(recorder))
}

fn healthy(endpoints: &Endpoints) -> Vec<String> {
    let current = endpoints.current();
    current.iter().filter(|one| one.health() == Health::Healthy).map(|one| one.id().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_disappears_within_its_lease() {
    let (recorder, server) = (Recorder::new(), Server::new().await);
    let [a, b, c] = [
        register(&recorder, &server, "a", 1).await,
        register(&recorder, &server, "b", 2).await,
        register(&recorder, &server, "c/1 x", 3).await,
    ];
    let endpoints = watch(&recorder, &server);
    until(|| healthy(&endpoints) == ["a", "b", "c/1 x"]).await;
    let one = &endpoints.current()[0];
    assert_eq!((one.host(), one.port(), one.weight()), ("10.0.0.1", 1, 3));
    assert_eq!(one.metadata()["zone"], "eu-1");
    // Renewals keep it beyond its lease.
    tokio::time::sleep(LEASE * 2).await;
    until(|| healthy(&endpoints).len() == 3).await;

    let before = Instant::now();
    drop(a);
    until(|| healthy(&endpoints) == ["b", "c/1 x"]).await;
    assert!(before.elapsed() < LEASE * 5, "{:?}", before.elapsed());
    b.set_health(Health::Unhealthy);
    until(|| healthy(&endpoints) == ["c/1 x"]).await;
    b.set_health(Health::Healthy);
    until(|| healthy(&endpoints) == ["b", "c/1 x"]).await;
    c.deregister().await.unwrap();
    until(|| endpoints.current().len() == 2).await;

    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    for _ in 0..3 {
        call(&client).await.unwrap();
    }
    assert_eq!(chosen(&recorder.spans()), ["b", "b", "b"], "one that is killed is not called");
    let renewals = recorder.metric("discovery.lease.renewals").with("service.peer.name", "stock");
    assert!(
        renewals.sum() >= 6.0
            && renewals.without("error.type").sum() == recorder.metric("discovery.lease.renewals").sum()
    );
    drop((client, endpoints, b));
    until(|| !recorder.tree().contains("not finished")).await;
    recorder.assert_clean();
    let count = |name: &str| recorder.spans().iter().filter(|span| span.name == name).count();
    assert_eq!((count("register stock"), count("deregister stock")), (3, 1));
    let span = recorder.span("deregister stock");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(attribute(&span, "server.address").unwrap().to_string(), "127.0.0.1");
    assert_eq!(attribute(&span, "server.port").unwrap().to_string(), server.address.port().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_restarted_without_its_state() {
    let (recorder, server) = (Recorder::new(), Server::new().await);
    let a = register(&recorder, &server, "a", 1).await;
    let b = register(&recorder, &server, "b", 2).await;
    let endpoints = watch(&recorder, &server);
    until(|| healthy(&endpoints).len() == 2).await;
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());

    let address = server.stop().await;
    until(|| endpoints.stale_time().is_some()).await;
    call(&client).await.unwrap();
    until(|| recorder.metric("discovery.lease.renewals").with("error.type", "connect").sum() > 0.0).await;
    let server = Server::start(address).await;
    // The new one knows nothing at first, which is not taken for an end of all; the leases register again.
    until(|| endpoints.stale_time().is_none() && healthy(&endpoints).len() == 2).await;
    call(&client).await.unwrap();
    if let Some(agent) = server.agent() {
        let requests = agent.lock().unwrap().requests.clone();
        assert_eq!(requests.iter().filter(|request| *request == "register").count(), 2, "{requests:?}");
    }
    drop((client, endpoints, a, b));

    let spans = recorder.spans();
    assert_eq!(chosen(&spans).len(), 2);
    let failed = spans.iter().filter(|span| span.name == "watch stock" && error_type(span).is_some());
    let failed = failed.filter(|span| error_type(span).as_deref() != Some("cancelled")).count();
    assert_eq!(recorder.metric("discovery.watch.restarts").sum(), failed as f64, "metrics agree with spans");
}

#[tokio::test]
async fn an_index_that_goes_back_begins_anew() {
    let (recorder, server) = (Recorder::new(), Server::protocol("127.0.0.1:0".parse().unwrap()).await);
    let index = |index| server.agent().unwrap().lock().unwrap().index = index;
    index(1_000);
    let endpoints = watch(&recorder, &server);
    assert!(endpoints.ready().await);
    index(7);
    let queries = || recorder.spans().iter().filter(|span| span.name == "watch stock").count();
    // The first answer, the one that went back, and one that begins anew; the next one waits.
    until(|| queries() >= 3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(queries(), 3, "{}", recorder.tree());
}

#[tokio::test]
async fn malformed_registrations_are_left_out_and_counted() {
    let (recorder, server) = (Recorder::new(), Server::new().await);
    let lease = register(&recorder, &server, "a", 1).await;
    let (long_address, long_id) = ("x".repeat(300), "i".repeat(256));
    // One that is good, because it has the address of its node.
    assert_eq!(server.add_entries(&[("no-address", "", 80)]).await, 1);
    let mut rejected = server
        .add_entries(&[
            ("long", &long_address, 80),
            ("space", "a b", 80),
            ("none", "10.0.0.1", 0),
            ("large", "10.0.0.1", 70_000),
            (&long_id, "10.0.0.1", 80),
            ("a\nb", "10.0.0.1", 80),
        ])
        .await;
    if let Some(agent) = server.agent() {
        agent.lock().unwrap().extra.extend([json!({ "Node": {} }), json!("<script>")]);
        rejected += 2;
    }
    assert!(rejected >= 4, "Consul itself refuses few of them: {rejected}");
    let endpoints = watch(&recorder, &server);
    assert!(endpoints.ready().await);
    let current = endpoints.current();
    let ids: Vec<_> = current.iter().map(|one| (one.id(), one.host())).collect();
    assert_eq!(ids, [("a", "10.0.0.1"), ("no-address", "10.1.10.12")]);
    assert_eq!(recorder.metric("discovery.rejected_endpoints").sum(), rejected as f64);
    drop(lease);
}

#[tokio::test]
async fn a_token_that_is_wrong_is_an_error_without_it() {
    let (recorder, server) = (Recorder::new(), Server::new().await);
    let registry = server.registry(&recorder).with_token("wrong-secret");
    let error = registry.resolve("stock").await.unwrap_err();
    assert_eq!(error.error_type(), "permission_denied");
    assert_eq!(
        error.to_string(),
        "registry consul: cannot resolve service stock: the agent responded 403 Forbidden"
    );
    let span = recorder.span("resolve stock");
    assert_eq!(error_type(&span).as_deref(), Some("permission_denied"));
    let shown = format!("{registry:?}{error:?}{}", recorder.tree());
    assert!(!shown.contains("wrong-secret") && !shown.contains(TOKEN));
    let registry = server.registry(&recorder);
    let address = server.stop().await;
    let error = registry.resolve("stock").await.unwrap_err();
    assert_eq!(error.error_type(), "connect");
    assert!(!error.to_string().contains(&address.to_string()), "a URL can have credentials: {error}");
}
