//! The names that this crate records are those that docs/conventions.md lists, with their instruments and units.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use otel_discovery::{
    BalanceOptions, Ejection, Endpoints, Health, Lease, LeaseKeeper, Registration, Registry, RegistryAnswer,
    RegistryError,
};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};

use crate::dns::Dns;
use crate::support::{Behaviour, Instances, Scripted, call, endpoint, instrumentation, until, watch_options};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test]
async fn the_names_are_listed() {
    let recorder = Recorder::new();
    let (registry, script) = Scripted::new();
    let answer = RegistryAnswer::collect([Ok(endpoint("a", 1)), Ok(endpoint("b", 2)), Err(())]);
    let endpoints = Endpoints::watch(registry, "stock", watch_options(&recorder));
    let instances = Instances::default();
    let options = BalanceOptions::new().with_ejection(Ejection::new().with_failures(1));
    let client = instances.client(&recorder, &endpoints, options);
    let (waited, ()) = tokio::join!(call(&client), async { script.send(Ok(answer)).unwrap() });
    waited.unwrap();
    script.send(Err("gone")).unwrap();
    until(|| endpoints.stale_time().is_some()).await;
    for behaviour in [Behaviour::NotReady, Behaviour::Fails] {
        instances.set("a", behaviour);
        for _ in 0..2 {
            let _ = call(&client).await;
        }
    }
    let registration = Registration::new("stock", endpoint("a", 1)).with_lease(Duration::from_millis(3));
    let lease = lease(&recorder, &registration);
    until(|| recorder.metric("discovery.lease.renewals").sum() > 0.0).await;
    drop(lease);
    Dns::new().await.registry(&recorder).resolve("stock").await.unwrap();
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-discovery").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()), "{}", recorder.tree());
}

/// A lease whose renewals fail every second time.
fn lease(recorder: &Recorder, registration: &Registration) -> Lease {
    struct Keeper(AtomicU32);
    impl LeaseKeeper for Keeper {
        fn renew(&self, _: Health) -> BoxFuture<'_, Result<(), RegistryError>> {
            let is_ok = self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let error = || RegistryError::new("scripted", "renew", "stock", "unreachable", "no route");
            Box::pin(std::future::ready(if is_ok { Ok(()) } else { Err(error()) }))
        }

        fn deregister(&self) -> BoxFuture<'_, Result<(), RegistryError>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }
    Lease::keep("scripted", registration, &instrumentation(recorder), Keeper(AtomicU32::new(0)))
}
