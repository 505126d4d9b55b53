//! The telemetry of choices: on the span of the call, and in the metrics.

use std::time::Duration;

use opentelemetry::trace::SpanKind;
use otel_discovery::{
    BalanceOptions, Ejection, Endpoint, Health, NoEndpoints, StaticRegistry, Strategy, Unavailable,
};
use otel_http::{ErrorView, LayerOptions};
use otel_testing::Recorder;
use tower::{Layer, ServiceExt};

use crate::support::{
    Behaviour, Instances, attribute, call, chosen, client_layer, endpoint, error_type, get, until, watch,
};

fn three() -> StaticRegistry {
    StaticRegistry::new().with_service("stock", [endpoint("a", 1), endpoint("b", 2), endpoint("c", 3)])
}

#[tokio::test]
async fn a_choice_is_on_the_span_of_its_call() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, three());
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    for _ in 0..4 {
        assert_eq!(call(&client).await.unwrap(), 200);
    }
    recorder.assert_clean();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 4, "one span a call: {}", recorder.tree());
    assert_eq!(chosen(&spans), ["a", "b", "c", "a"]);
    let second = &spans[1];
    assert_eq!(second.span_kind, SpanKind::Client);
    for (key, value) in [
        ("server.address", "stock.internal"),
        ("network.peer.address", "10.0.0.1"),
        ("network.peer.port", "2"),
        ("discovery.strategy", "round_robin"),
        ("discovery.candidates", "3"),
        ("discovery.pick.attempt", "1"),
    ] {
        assert_eq!(attribute(second, key).unwrap().to_string(), value, "{key}");
    }
    assert!(attribute(second, "discovery.stale_time").is_none());
    let picks = recorder.metric("discovery.picks").with("service.peer.name", "stock");
    let picks = picks.with("discovery.strategy", "round_robin").with("discovery.registry", "static");
    assert_eq!(picks.sum(), 4.0);
    let states = recorder.metric("discovery.endpoints").with("discovery.endpoint.state", "available");
    assert_eq!(states.sum(), 3.0);
}

#[tokio::test]
async fn a_host_name_is_no_peer_address() {
    let recorder = Recorder::new();
    let named = Endpoint::parse("stock-1.internal:80").unwrap();
    let endpoints = watch(&recorder, StaticRegistry::new().with_service("stock", [named]));
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    call(&client).await.unwrap();
    let span = &recorder.spans()[0];
    assert!(attribute(span, "network.peer.address").is_none());
    assert_eq!(chosen(std::slice::from_ref(span)), ["stock-1.internal:80"]);
}

#[tokio::test]
async fn an_endpoint_that_is_not_ready_is_given_up_for_another() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, three());
    let instances = Instances::default();
    for id in ["a", "b"] {
        instances.set(id, Behaviour::NotReady);
    }
    let client = instances.client(&recorder, &endpoints, BalanceOptions::new());
    assert_eq!(call(&client).await.unwrap(), 200);
    let limited = BalanceOptions::new().with_max_attempts(1);
    let limited = instances.client(&recorder, &endpoints, limited);
    assert_eq!(call(&limited).await.unwrap_err().to_string(), "connection refused");

    let spans = recorder.spans();
    assert_eq!(chosen(&spans), ["c", "a"]);
    assert_eq!(attribute(&spans[0], "discovery.pick.attempt").unwrap().to_string(), "3");
    assert_eq!(error_type(&spans[1]).as_deref(), Some("connection_refused"));
    let attempts = spans.iter().map(|span| attribute(span, "discovery.pick.attempt").unwrap());
    let attempts: f64 = attempts.map(|count| count.to_string().parse::<f64>().unwrap()).sum();
    assert_eq!(recorder.metric("discovery.picks").sum(), attempts, "metrics agree with spans");
    let is_delayed =
        |at: usize| spans[at].events.iter().any(|event| event.name == "Delayed LB pick complete");
    assert!(is_delayed(0) && !is_delayed(1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_an_endpoint_is_an_event() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, StaticRegistry::new().with_service("stock", [endpoint("a", 1)]));
    assert!(endpoints.ready().await);
    let instances = Instances::default();
    let client = instances.client(&recorder, &endpoints, BalanceOptions::new());
    instances.set("a", Behaviour::Waits);
    let ready = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        instances.set("a", Behaviour::Responds);
    };
    let (status, ()) = tokio::join!(call(&client), ready);
    assert_eq!(status.unwrap(), 200);
    call(&client).await.unwrap();
    let spans = recorder.spans();
    let events = |at: usize| spans[at].events.iter().map(|event| event.name.to_string()).collect::<Vec<_>>();
    assert_eq!(events(0), ["Delayed LB pick complete"]);
    assert_eq!(events(1), [""; 0]);
}

#[tokio::test]
async fn nothing_known_is_an_error_that_names_registry_and_service() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, StaticRegistry::new());
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    let error = call(&client).await.unwrap_err();
    let found = NoEndpoints::find(&*error).unwrap();
    assert_eq!((found.service(), found.registry()), ("stock", "static"));
    assert_eq!(
        error.to_string(),
        "no endpoint of service stock is known; registry static: its answer has none"
    );
    assert_eq!(recorder.metric("discovery.picks").with("error.type", "no_endpoints").sum(), 1.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_hook_of_the_client_names_the_error() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, StaticRegistry::new());
    let hook = |view: &ErrorView<'_>| view.find::<NoEndpoints>().map(NoEndpoints::error_type);
    let client = client_layer(&recorder).with_error_type(hook);
    let client = client.layer(Instances::default().balance(&endpoints, BalanceOptions::new()));
    client.oneshot(get()).await.map(drop).unwrap_err();
    assert_eq!(error_type(&recorder.spans()[0]).as_deref(), Some("no_endpoints"));
}

#[tokio::test]
async fn endpoints_come_and_go() {
    let recorder = Recorder::new();
    let registry = three();
    let endpoints = watch(&recorder, registry.clone());
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    call(&client).await.unwrap();
    assert!(registry.remove("stock", "a"));
    assert!(!registry.remove("stock", "a"));
    registry.insert("stock", endpoint("d", 4));
    registry.insert("stock", endpoint("b", 2).with_health(Health::Unhealthy));
    until(|| endpoints.current().iter().map(|one| one.id()).eq(["b", "c", "d"])).await;
    until(|| {
        recorder.metric("discovery.endpoints").with("discovery.endpoint.state", "unhealthy").sum() > 0.0
    })
    .await;
    for _ in 0..6 {
        call(&client).await.unwrap();
    }
    let mut after = chosen(&recorder.spans()[1..]);
    after.sort();
    assert_eq!(after, ["c", "c", "c", "d", "d", "d"]);
    for id in ["c", "d"] {
        assert!(registry.remove("stock", id));
    }
    until(|| endpoints.current().len() == 1).await;
    until(|| {
        recorder.metric("discovery.endpoints").with("discovery.endpoint.state", "available").sum() == 0.0
    })
    .await;
    call(&client).await.unwrap();
    assert_eq!(chosen(&recorder.spans()).last().unwrap(), "b", "an unhealthy one is better than none");
}

#[tokio::test]
async fn calls_that_are_dropped_leave_nothing_behind() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, three());
    let instances = Instances::default();
    instances.set("a", Behaviour::Hangs);
    let options = BalanceOptions::new().with_strategy(Strategy::LeastPending);
    let options = options.with_ejection(Ejection::new().with_failures(1));
    let client = instances.client(&recorder, &endpoints, options);
    for _ in 0..50 {
        let _ = tokio::time::timeout(Duration::from_millis(1), call(&client)).await;
    }
    instances.set("a", Behaviour::Responds);
    let before = recorder.spans().len();
    for _ in 0..200 {
        call(&client).await.unwrap();
    }
    let counts = chosen(&recorder.spans()[before..]).iter().filter(|id| *id == "a").count();
    assert!(counts > 20, "its pending calls were counted down: {counts}");
    assert_eq!(recorder.metric("discovery.picks").sum(), 250.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_status_can_be_a_failure() {
    let recorder = Recorder::new();
    let endpoints = watch(&recorder, three());
    let instances = Instances::default();
    instances.set("a", Behaviour::Status(503));
    instances.set("b", Behaviour::Status(500));
    let options =
        BalanceOptions::new().with_ejection(Ejection::new().with_failures(1)).with_failures(Unavailable);
    let client = instances.client(&recorder, &endpoints, options);
    for _ in 0..7 {
        call(&client).await.unwrap();
    }
    assert_eq!(chosen(&recorder.spans()).iter().filter(|id| *id == "a").count(), 1);
    assert_eq!(chosen(&recorder.spans()).iter().filter(|id| *id == "b").count(), 3);
    assert_eq!(recorder.metric("discovery.ejections").sum(), 1.0);
}
