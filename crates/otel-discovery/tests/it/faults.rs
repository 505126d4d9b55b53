//! Faults of registries and of endpoints: what is known stays in use, and what fails is left out for a time.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use otel_discovery::{
    BalanceOptions, Ejection, Endpoints, NoEndpoints, Registry, RegistryAnswer, RegistryError,
    StaticRegistry, Strategy, Update, Updates,
};
use otel_testing::Recorder;
use tokio::task::yield_now;

use crate::support::{
    Behaviour, Instances, Scripted, attribute, call, chosen, endpoint, until, watch, watch_options,
};

fn answer(ids: &[&str]) -> Result<RegistryAnswer, &'static str> {
    Ok(RegistryAnswer::collect(ids.iter().map(|id| Ok::<_, ()>(endpoint(id, 1)))))
}

#[tokio::test]
async fn a_registry_that_is_away_leaves_the_last_known_endpoints() {
    let recorder = Recorder::new();
    let (registry, script) = Scripted::new();
    let endpoints = Endpoints::watch(registry, "stock", watch_options(&recorder));
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());

    script.send(Err("no route")).unwrap();
    let error = call(&client).await.unwrap_err();
    assert!(NoEndpoints::find(&*error).is_some());
    assert_eq!(
        error.to_string(),
        "no endpoint of service stock is known; registry scripted: \
         registry scripted: cannot watch service stock: no route"
    );
    script.send(answer(&["a", "b"])).unwrap();
    until(|| endpoints.current().len() == 2).await;
    script.send(Err("no route")).unwrap();
    until(|| endpoints.stale_time().is_some()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    call(&client).await.unwrap();
    assert!(recorder.metric("discovery.staleness").sum() >= 0.02);
    // An empty answer is no better than none.
    script.send(Ok(RegistryAnswer::default())).unwrap();
    yield_now().await;
    call(&client).await.unwrap();
    assert_eq!(endpoints.current().len(), 2);
    script.send(answer(&["b"])).unwrap();
    until(|| endpoints.current().len() == 1).await;
    assert_eq!(recorder.metric("discovery.staleness").sum(), 0.0);
    call(&client).await.unwrap();

    let spans = recorder.spans();
    let stale = |at: usize| attribute(&spans[at], "discovery.stale_time").map(|time| time.to_string());
    assert!(stale(1).unwrap().parse::<f64>().unwrap() >= 0.02);
    assert!(stale(2).is_some() && stale(3).is_none());
    assert_eq!(recorder.metric("discovery.watch.restarts").with("error.type", "unreachable").sum(), 2.0);
}

#[tokio::test]
async fn each_failure_is_a_restart_after_a_delay() {
    let recorder = Recorder::new();
    let (registry, script) = Scripted::new();
    for update in [Err("no route"), Err("no route"), Err("no route"), answer(&["a"])] {
        script.send(update).unwrap();
    }
    let endpoints = Endpoints::watch(registry, "stock", watch_options(&recorder));
    until(|| endpoints.current().len() == 1).await;
    assert_eq!(recorder.metric("discovery.watch.restarts").with("error.type", "unreachable").sum(), 3.0);
}

#[tokio::test]
async fn an_empty_answer_can_mean_that_all_have_gone() {
    let recorder = Recorder::new();
    let (registry, script) = Scripted::new();
    let options = watch_options(&recorder).with_empty_as_gone(true);
    let endpoints = Endpoints::watch(registry, "stock", options);
    script.send(answer(&["a"])).unwrap();
    until(|| !endpoints.current().is_empty()).await;
    script.send(Ok(RegistryAnswer::default())).unwrap();
    until(|| endpoints.current().is_empty()).await;
    assert_eq!(endpoints.stale_time(), None);
}

#[tokio::test(start_paused = true)]
async fn the_first_calls_wait_for_the_first_answer() {
    let recorder = Recorder::new();
    let (registry, script) = Scripted::new();
    let endpoints = Endpoints::watch(registry, "stock", watch_options(&recorder));
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    let before = tokio::time::Instant::now();
    let error = call(&client).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    assert!(error.to_string().ends_with("it has not answered yet"), "{error}");
    let late = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        script.send(answer(&["a"])).unwrap();
    };
    let (status, ()) = tokio::join!(call(&client), late);
    assert_eq!(status.unwrap(), 200);
    call(&client).await.unwrap();
    let spans = recorder.spans();
    let events = |at: usize| spans[at].events.iter().map(|event| event.name.to_string()).collect::<Vec<_>>();
    assert_eq!(events(0), [""; 0]);
    assert_eq!(events(1), ["Delayed name resolution complete"]);
    assert_eq!(events(2), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_flapping_endpoint_is_away_longer_each_time() {
    let recorder = Recorder::new();
    let (seconds, instances) = (Duration::from_secs, Instances::default());
    let registry = StaticRegistry::new().with_service("stock", [endpoint("a", 1), endpoint("b", 2)]);
    let endpoints = watch(&recorder, registry);
    let ejection = Ejection::new().with_failures(3).with_time(seconds(10), seconds(25));
    let client = instances.client(&recorder, &endpoints, BalanceOptions::new().with_ejection(ejection));
    instances.set("a", Behaviour::Fails);
    // Three failures in six calls, and none for ten seconds.
    let failures = async |calls: usize| {
        let mut failures = 0;
        for _ in 0..calls {
            failures += usize::from(call(&client).await.is_err());
        }
        failures
    };
    assert_eq!(failures(20).await, 3);
    for (wait, count) in [(9, 0), (1, 1), (19, 0), (1, 1), (24, 0), (1, 1), (24, 0)] {
        tokio::time::advance(seconds(wait)).await;
        assert_eq!(failures(10).await, count, "after {wait} s more");
    }
    tokio::time::advance(seconds(1)).await;
    instances.set("a", Behaviour::Responds);
    assert_eq!(failures(10).await, 0);
    // It has responded, so that its failures count from the start, and its ejection is short again.
    instances.set("a", Behaviour::Fails);
    assert_eq!(failures(20).await, 3);
    tokio::time::advance(seconds(10)).await;
    assert_eq!(failures(10).await, 1);
    assert_eq!(recorder.metric("discovery.ejections").sum(), 6.0);
    let spans = recorder.spans();
    let events = spans.iter().flat_map(|span| span.events.iter());
    assert_eq!(events.filter(|event| event.name == "discovery.ejection").count(), 6);
}

#[tokio::test(start_paused = true)]
async fn all_endpoints_down_and_then_up() {
    let recorder = Recorder::new();
    let (ids, instances) = (["a", "b", "c"], Instances::default());
    let members = ids.map(|id| endpoint(id, 1));
    let endpoints = watch(&recorder, StaticRegistry::new().with_service("stock", members));
    let ejection = Ejection::new().with_failures(2).with_max_share(1.0);
    let client = instances.client(&recorder, &endpoints, BalanceOptions::new().with_ejection(ejection));
    for id in ids {
        instances.set(id, Behaviour::Fails);
    }
    for _ in 0..30 {
        call(&client).await.unwrap_err();
    }
    let state = |state| recorder.metric("discovery.endpoints").with("discovery.endpoint.state", state).sum();
    assert_eq!((state("ejected"), state("available")), (2.0, 1.0), "the last one stays");
    for id in ids {
        instances.set(id, Behaviour::Responds);
    }
    let before = recorder.spans().len();
    for _ in 0..3 {
        assert_eq!(call(&client).await.unwrap(), 200);
    }
    tokio::time::advance(Duration::from_secs(31)).await;
    for _ in 0..6 {
        assert_eq!(call(&client).await.unwrap(), 200);
    }
    let after = chosen(&recorder.spans()[before + 3..]);
    assert!(ids.iter().all(|id| after.iter().filter(|one| one == id).count() == 2), "{after:?}");
    assert_eq!((state("ejected"), state("available")), (0.0, 3.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_endpoints_with_a_hundred_changes_a_second() {
    const COUNT: u16 = 10_000;
    let recorder = Recorder::new();
    let id = |number: u16| format!("instance-{number:05}");
    let members = (1..=COUNT).map(|number| endpoint(&id(number), number));
    let registry = StaticRegistry::new().with_service("stock", members);
    let endpoints = watch(&recorder, registry.clone());
    let instances = Instances::default();
    let options = BalanceOptions::new().with_strategy(Strategy::LeastPending);
    let client = instances.client(&recorder, &endpoints, options);
    call(&client).await.unwrap();

    let changer = tokio::spawn({
        let registry = registry.clone();
        async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            for number in 1..=200_u16 {
                ticks.tick().await;
                registry.remove("stock", &id(number));
                registry.insert("stock", endpoint(&id(COUNT + number), number));
            }
        }
    });
    let mut calls = 0_u32;
    while !changer.is_finished() {
        call(&client).await.unwrap();
        calls += 1;
    }
    changer.await.unwrap();
    until(|| {
        let current = endpoints.current();
        current.first().is_some_and(|one| one.id() == id(201))
            && current.last().is_some_and(|one| one.id() == id(COUNT + 200))
    })
    .await;
    assert_eq!(endpoints.current().len(), usize::from(COUNT));
    let state = || recorder.metric("discovery.endpoints").with("discovery.endpoint.state", "available").sum();
    until(|| state() == f64::from(COUNT)).await;
    // Calls that each wait for a change are 200.
    assert!(calls > 400, "changes do not hold calls up: {calls}");
    let spans = recorder.spans();
    assert_eq!(spans.len() as u32, calls + 1);
    assert_eq!(recorder.metric("discovery.picks").sum(), f64::from(calls + 1));
}

/// A registry of the program's own with a fault.
struct Panics(std::sync::atomic::AtomicU32);

impl Registry for Panics {
    fn name(&self) -> &'static str {
        "own"
    }

    fn resolve(&self, _: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        panic!("a panic of the test");
    }

    fn watch(&self, _: &str) -> Updates {
        let count = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(count != 0, "a panic of the test: in the call");
        let answer = answer(&["a"]).map(Update::Complete).map_err(|_| unreachable!());
        let panics = stream::once(async { panic!("a panic of the test: in the stream") });
        stream::iter([answer]).chain(panics).boxed()
    }
}

#[tokio::test]
async fn a_registry_that_panics_has_failed() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, Panics(0.into()));
    let restarts = || recorder.metric("discovery.watch.restarts").with("error.type", "panic").sum();
    until(|| restarts() >= 3.0).await;
    assert_eq!(endpoints.current().len(), 1);
    assert!(endpoints.stale_time().is_some());
}
