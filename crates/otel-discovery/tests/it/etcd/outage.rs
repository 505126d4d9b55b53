//! Leases that are lost, servers that are stopped, and revisions that are compacted.

use std::time::Duration;

use otel_discovery::{BalanceOptions, EtcdRegistry, Registry};
use otel_testing::{Recorder, service};
use serde_json::json;
use tokio::net::TcpListener;

use super::server::{Proxy, Server, delete, post, put, registry, setting};
use super::{ids, register, watch};
use crate::support::{Instances, attribute, call, error_type, instrumentation, until};

const VALUE: &str = r#"{"Addr":"10.0.0.9:80"}"#;

fn restarts(recorder: &Recorder, error_type: &'static str) -> f64 {
    recorder.metric("discovery.watch.restarts").with("error.type", error_type).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_lease_is_lost_registers_again() {
    let (recorder, server) = (Recorder::new(), Server::start().await);
    let registry = registry(&recorder, &server.url());
    let lease = register(&registry, "stock", "a", 1).await;
    put(&server.url(), "stock/b", VALUE).await;
    let endpoints = watch(&recorder, &registry, "stock");
    until(|| ids(&endpoints) == ["a", "b"]).await;
    let leases = async || post(&server.url(), "lease/leases", json!({})).await["leases"].clone();
    let id = leases().await[0]["ID"].clone();
    post(&server.url(), "lease/revoke", json!({ "ID": id })).await;
    until(|| ids(&endpoints) == ["b"]).await;
    until(|| ids(&endpoints) == ["a", "b"]).await;
    let new = leases().await;
    assert!(new.as_array().unwrap().len() == 1 && new[0]["ID"] != id, "{new}");
    let failed = recorder.metric("discovery.lease.renewals").sum()
        - recorder.metric("discovery.lease.renewals").without("error.type").sum();
    assert_eq!(failed, 0.0, "a renewal that registers again has not failed");
    lease.deregister().await.unwrap();
    assert_eq!(registry.resolve("stock").await.unwrap().endpoints.len(), 1);
    assert_eq!(leases().await, json!(null), "the new lease is the one that has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted() {
    let (recorder, mut server) = (Recorder::new(), Server::start().await);
    let registry = registry(&recorder, &server.url());
    let lease = register(&registry, "stock", "a", 1).await;
    put(&server.url(), "stock/b", VALUE).await;
    let endpoints = watch(&recorder, &registry, "stock");
    until(|| ids(&endpoints) == ["a", "b"]).await;
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    call(&client).await.unwrap();

    server.stop();
    until(|| endpoints.stale_time().is_some()).await;
    call(&client).await.unwrap();
    assert_eq!(ids(&endpoints), ["a", "b"], "the last known ones stay");
    let renewals = || recorder.metric("discovery.lease.renewals").with("error.type", "connect").sum();
    until(|| renewals() > 0.0 && recorder.metric("discovery.staleness").sum() > 0.0).await;
    let error = registry.resolve("stock").await.unwrap_err();
    assert_eq!(error.error_type(), "connect", "{error}");

    server.restart().await;
    until(|| endpoints.stale_time().is_none()).await;
    assert_eq!(recorder.metric("discovery.staleness").sum(), 0.0);
    put(&server.url(), "stock/c", VALUE).await;
    until(|| ids(&endpoints) == ["a", "b", "c"]).await;
    call(&client).await.unwrap();
    lease.deregister().await.unwrap();
    until(|| ids(&endpoints) == ["b", "c"]).await;
    drop((client, endpoints));

    let calls: Vec<_> = recorder.spans().into_iter().filter(|span| span.name == "GET").collect();
    let stale: Vec<_> = calls.iter().map(|one| attribute(one, "discovery.stale_time").is_some()).collect();
    assert_eq!(stale, [false, true, false]);
    let watches = recorder.spans().into_iter().filter(|span| span.name == "watch stock");
    let types: Vec<_> = watches.map(|span| error_type(&span)).collect();
    assert!(types.len() >= 2 && types[0].is_none() && types[types.len() - 1].is_none(), "{types:?}");
    assert!(types.iter().flatten().all(|one| one == "connect" || one == "unavailable"), "{types:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_without_its_data() {
    let (recorder, mut server) = (Recorder::new(), Server::start().await);
    let registry = registry(&recorder, &server.url());
    let _lease = register(&registry, "stock", "a", 1).await;
    for _ in 0..20 {
        put(&server.url(), "stock/gone", VALUE).await;
    }
    let endpoints = watch(&recorder, &registry, "stock");
    until(|| ids(&endpoints) == ["a", "gone"]).await;
    server.stop();
    until(|| endpoints.stale_time().is_some()).await;
    server.remove_data();
    server.restart().await;
    // A watch from the old revision would wait for good. The empty answer is not believed, and the lease registers again.
    until(|| ids(&endpoints) == ["a"]).await;
    assert!(restarts(&recorder, "reset") >= 1.0);
    put(&server.url(), "stock/b", VALUE).await;
    until(|| ids(&endpoints) == ["a", "b"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_continues_from_its_revision_or_begins_anew_after_a_compaction() {
    let (recorder, server) = (Recorder::new(), Server::start().await);
    let (url, mut proxy) = (server.url(), Proxy::new(server.address()).await);
    put(&url, "stock/a", VALUE).await;
    let endpoints = watch(&recorder, &registry(&recorder, &proxy.url()), "stock");
    until(|| ids(&endpoints) == ["a"]).await;
    // Changes of an outage come later.
    proxy.cut();
    until(|| endpoints.stale_time().is_some()).await;
    put(&url, "stock/b", VALUE).await;
    delete(&url, "stock/a").await;
    proxy.restore().await;
    until(|| ids(&endpoints) == ["b"]).await;
    assert_eq!(restarts(&recorder, "compacted"), 0.0);
    let answers = || {
        let watches = recorder.spans().into_iter().filter(|span| span.name == "watch stock");
        let counts = watches.filter_map(|span| attribute(&span, "discovery.answer.endpoints"));
        counts.map(|count| count.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(answers(), ["1", "1"], "the second has what was known");

    // Changes of an outage that are compacted are in a new read.
    proxy.cut();
    until(|| endpoints.stale_time().is_some()).await;
    delete(&url, "stock/b").await;
    put(&url, "stock/c", VALUE).await;
    let revision = put(&url, "stock/d", VALUE).await;
    post(&url, "kv/compaction", json!({ "revision": revision, "physical": true })).await;
    proxy.restore().await;
    until(|| ids(&endpoints) == ["c", "d"]).await;
    assert_eq!(restarts(&recorder, "compacted"), 1.0);
    put(&url, "stock/e", VALUE).await;
    until(|| ids(&endpoints) == ["c", "d", "e"] && endpoints.stale_time().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_away_is_passed_over() {
    let recorder = Recorder::new();
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Accepts connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [unused.to_string(), silent.local_addr().unwrap().to_string(), setting("ETCD_URL")];
    let registry = EtcdRegistry::new(addresses).unwrap().with_timeout(Duration::from_secs(2));
    let registry = registry.with_instrumentation(&instrumentation(&recorder));
    let service = service::unique_name("stock");
    let lease = register(&registry, &service, "a", 1).await;
    let endpoints = watch(&recorder, &registry, &service);
    until(|| ids(&endpoints) == ["a"]).await;
    lease.deregister().await.unwrap();
    drop(endpoints);
    recorder.assert_clean();
    let failed = recorder.spans().iter().filter(|span| error_type(span).is_some()).count();
    assert_eq!(failed, 0, "{}", recorder.tree());
}
