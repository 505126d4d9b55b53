//! Registrations in the static registry, whose leases end as those of the others do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use otel_discovery::{
    Endpoints, Health, Lease, LeaseKeeper, Registration, Registry, RegistryError, StaticRegistry,
};
use otel_testing::Recorder;
use tokio::time::Instant;

use crate::support::{endpoint, instrumentation, until, watch};

const LEASE: Duration = Duration::from_secs(3);

async fn register(registry: &impl Registry, id: &str, port: u16) -> Lease {
    registry.register(Registration::new("stock", endpoint(id, port)).with_lease(LEASE)).await.unwrap()
}

fn ids(endpoints: &Endpoints) -> Vec<String> {
    endpoints.current().iter().map(|one| one.id().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lease_ends_and_a_kept_one_does_not() {
    let recorder = Recorder::new();
    let registry = Arc::new(StaticRegistry::new().with_instrumentation(&instrumentation(&recorder)));
    registry.insert("stock", endpoint("listed", 9));
    let (dropped, kept) = (register(&registry, "a", 1).await, register(&registry, "b", 2).await);
    let endpoints = watch(&recorder, registry.clone());
    until(|| ids(&endpoints) == ["a", "b", "listed"]).await;
    tokio::time::sleep(LEASE * 3).await;
    assert_eq!(ids(&endpoints), ["a", "b", "listed"]);
    kept.set_health(Health::Unhealthy);
    until(|| endpoints.current()[1].health() == Health::Unhealthy).await;

    let before = Instant::now();
    drop(dropped);
    until(|| ids(&endpoints) == ["b", "listed"]).await;
    assert!(before.elapsed() <= LEASE, "{:?}", before.elapsed());
    let before = Instant::now();
    kept.deregister().await.unwrap();
    until(|| ids(&endpoints) == ["listed"]).await;
    assert!(before.elapsed() < LEASE / 3, "{:?}", before.elapsed());
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(ids(&endpoints), ["listed"], "no renewal has registered it again");
    // Two leases of three renewals in each of three times.
    assert!(recorder.metric("discovery.lease.renewals").with("discovery.registry", "static").sum() >= 16.0);
}

#[tokio::test(start_paused = true)]
async fn an_old_lease_does_not_end_a_new_one_of_the_same_id() {
    let recorder = Recorder::new();
    let registry = StaticRegistry::new().with_instrumentation(&instrumentation(&recorder));
    let endpoints = watch(&recorder, registry.clone());
    let old = register(&registry, "a", 1).await;
    tokio::time::sleep(LEASE / 2).await;
    drop(old);
    let new = register(&registry, "a", 2).await;
    until(|| endpoints.current().first().is_some_and(|one| one.port() == 2)).await;
    for _ in 0..LEASE.as_secs() * 20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(ids(&endpoints), ["a"]);
    }
    let newest = register(&registry, "a", 3).await;
    new.deregister().await.unwrap();
    assert_eq!(registry.resolve("stock").await.unwrap().endpoints[0].port(), 3);
    newest.deregister().await.unwrap();
    assert!(registry.resolve("stock").await.unwrap().endpoints.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_without_a_watch() {
    let registry = StaticRegistry::new();
    let endless = Registration::new("stock", endpoint("b", 2)).with_lease(Duration::MAX);
    let (dropped, _kept) = (register(&registry, "a", 1).await, registry.register(endless).await.unwrap());
    drop(dropped);
    for (wait, expected) in [(LEASE - Duration::from_millis(1), 2), (Duration::from_millis(2), 1)] {
        tokio::time::sleep(wait).await;
        assert_eq!(registry.resolve("stock").await.unwrap().endpoints.len(), expected);
    }
}

/// A keeper of the program's own, whose first renewal panics.
struct Panics(AtomicBool);

impl LeaseKeeper for Panics {
    fn renew(&self, _: Health) -> BoxFuture<'_, Result<(), RegistryError>> {
        assert!(self.0.swap(true, Ordering::Relaxed), "a panic of the test: a renewal");
        Box::pin(std::future::ready(Ok(())))
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_panics_is_followed_by_others() {
    let recorder = Recorder::new();
    let registration = Registration::new("stock", endpoint("a", 1)).with_lease(LEASE);
    let lease =
        Lease::keep("own", &registration, &instrumentation(&recorder), Panics(AtomicBool::new(false)));
    tokio::time::sleep(LEASE * 2).await;
    let renewals = || recorder.metric("discovery.lease.renewals");
    assert_eq!(renewals().with("error.type", "panic").sum(), 1.0);
    assert!(renewals().without("error.type").sum() >= 4.0);
    lease.deregister().await.unwrap();
}
