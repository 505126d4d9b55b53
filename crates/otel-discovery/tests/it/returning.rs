//! Endpoints that come back: after a removal, and after their registry has reported them unhealthy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use otel_discovery::{BalanceOptions, Ejection, Endpoint, Health, StaticRegistry};
use otel_testing::Recorder;

use crate::support::{Behaviour, Instances, call, chosen, endpoint, until, watch};

struct Fixture {
    recorder: Recorder,
    registry: StaticRegistry,
    instances: Instances,
    client: crate::support::Client,
}

impl Fixture {
    /// Three endpoints, of which `a` is ejected.
    async fn with_an_ejected_endpoint() -> Self {
        let (recorder, instances) = (Recorder::new(), Instances::default());
        let registry = StaticRegistry::new().with_service("stock", ["a", "b", "c"].map(|id| endpoint(id, 1)));
        let endpoints = watch(&recorder, registry.clone());
        let options = BalanceOptions::new().with_ejection(Ejection::new().with_failures(2));
        let client = instances.client(&recorder, &endpoints, options);
        let fixture = Self { recorder, registry, instances, client };
        fixture.instances.set("a", Behaviour::Fails);
        assert_eq!(fixture.failures(9).await, 2);
        assert_eq!(fixture.state("ejected"), 1.0);
        fixture
    }

    async fn failures(&self, calls: usize) -> usize {
        let mut failures = 0;
        for _ in 0..calls {
            failures += usize::from(call(&self.client).await.is_err());
        }
        failures
    }

    fn state(&self, state: &'static str) -> f64 {
        self.recorder.metric("discovery.endpoints").with("discovery.endpoint.state", state).sum()
    }
}

#[tokio::test]
async fn an_instance_that_came_back_begins_anew() {
    let fixture = Fixture::with_an_ejected_endpoint().await;
    // At once, as a restart within one answer of the registry.
    fixture.registry.remove("stock", "a");
    fixture.registry.insert("stock", endpoint("a", 1));
    until(|| fixture.state("available") == 3.0).await;
    // It has all of its failures before it, and not the one of an endpoint after its ejection.
    assert_eq!(fixture.failures(9).await, 2);
    assert_eq!(fixture.recorder.metric("discovery.ejections").sum(), 2.0);
}

#[tokio::test]
async fn another_weight_or_metadata_ends_no_ejection() {
    let fixture = Fixture::with_an_ejected_endpoint().await;
    fixture.registry.insert("stock", endpoint("a", 1).with_weight(7));
    fixture.registry.insert("stock", endpoint("d", 4));
    until(|| fixture.state("available") == 3.0).await;
    assert_eq!((fixture.failures(9).await, fixture.state("ejected")), (0, 1.0));
    // Another address is another instance.
    fixture.registry.insert("stock", endpoint("a", 5));
    until(|| fixture.state("available") == 4.0).await;
}

#[tokio::test]
async fn an_endpoint_that_its_registry_reports_healthy_again_is_no_longer_ejected() {
    let fixture = Fixture::with_an_ejected_endpoint().await;
    let with = |health| fixture.registry.insert("stock", endpoint("a", 1).with_health(health));
    with(Health::Unhealthy);
    // A sentinel: the changes are applied in order.
    fixture.registry.insert("stock", endpoint("d", 4));
    until(|| fixture.state("available") == 3.0).await;
    fixture.instances.set("a", Behaviour::Responds);
    with(Health::Healthy);
    until(|| fixture.state("available") == 4.0).await;
    let before = fixture.recorder.spans().len();
    assert_eq!(fixture.failures(8).await, 0);
    let after = chosen(&fixture.recorder.spans()[before..]);
    assert_eq!(after.iter().filter(|id| *id == "a").count(), 2);
}

#[tokio::test]
async fn a_service_that_cannot_be_made_does_not_stop_the_updates() {
    let recorder = Recorder::new();
    let registry = StaticRegistry::new().with_service("stock", [endpoint("a", 1), endpoint("bad", 2)]);
    let endpoints = watch(&recorder, registry.clone());
    assert!(endpoints.ready().await);
    let made = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&made);
    let balance = BalanceOptions::new().connect(&endpoints, move |one: &Endpoint| {
        assert!(!one.id().starts_with("bad"), "a panic of the test: no service for {}", one.id());
        counted.fetch_add(1, Ordering::Relaxed);
        tower::service_fn(|_: ()| std::future::ready(Ok::<_, std::io::Error>(())))
    });
    let call = async || tower::ServiceExt::oneshot(balance.clone(), ()).await.unwrap();
    call().await;
    registry.insert("stock", endpoint("bad-2", 3));
    registry.insert("stock", endpoint("c", 4));
    until(|| made.load(Ordering::Relaxed) == 2).await;
    call().await;
    let available = recorder.metric("discovery.endpoints").with("discovery.endpoint.state", "available");
    assert_eq!(available.sum(), 2.0);
    let rejected = recorder.metric("discovery.rejected_endpoints").with("error.type", "panic");
    assert_eq!(rejected.sum(), 2.0);
}
