//! Each strategy, over many calls.

use std::collections::BTreeMap;

use otel_discovery::{BalanceOptions, StaticRegistry, Strategy};
use otel_testing::Recorder;

use crate::support::{Behaviour, Instances, attribute, call, chosen, endpoint, watch};

/// The number of calls that each of three endpoints took of 600, while a call of `busy` hangs.
async fn counts(strategy: Strategy, busy: Option<&str>) -> BTreeMap<String, u32> {
    let recorder = Recorder::new();
    let members =
        [endpoint("a", 1).with_weight(1), endpoint("b", 2).with_weight(2), endpoint("c", 3).with_weight(3)];
    let endpoints = watch(&recorder, StaticRegistry::new().with_service("stock", members));
    let instances = Instances::default();
    let client = instances.client(&recorder, &endpoints, BalanceOptions::new().with_strategy(strategy));
    let mut hanging = None;
    if let Some(id) = busy {
        instances.set(id, Behaviour::Hangs);
        // Until a call of that endpoint hangs.
        while hanging.is_none() {
            let mut one = Box::pin(call(&client));
            let limit = std::time::Duration::from_millis(20);
            hanging = tokio::time::timeout(limit, &mut one).await.is_err().then_some(one);
        }
        instances.set(id, Behaviour::Responds);
    }
    let before = recorder.spans().len();
    for _ in 0..600 {
        call(&client).await.unwrap();
    }
    let spans = recorder.spans();
    let mut counts = BTreeMap::new();
    for (id, span) in chosen(&spans[before..]).into_iter().zip(&spans[before..]) {
        *counts.entry(id).or_default() += 1;
        assert_eq!(attribute(span, "discovery.strategy").unwrap().to_string(), strategy.as_str());
    }
    drop(hanging);
    counts
}

fn is_close(count: u32, expected: u32) -> bool {
    count.abs_diff(expected) < 90
}

#[tokio::test]
async fn round_robin_is_exact() {
    let counts = counts(Strategy::RoundRobin, None).await;
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [200, 200, 200]);
}

#[tokio::test]
async fn random_is_even() {
    let counts = counts(Strategy::Random, None).await;
    assert!(counts.len() == 3 && counts.values().all(|count| is_close(*count, 200)), "{counts:?}");
}

#[tokio::test]
async fn weights_are_shares() {
    let counts = counts(Strategy::Weighted, None).await;
    let expected = [("a", 100), ("b", 200), ("c", 300)];
    assert!(expected.iter().all(|(id, count)| is_close(counts[*id], *count)), "{counts:?}");
}

#[tokio::test]
async fn a_busy_endpoint_takes_less() {
    let counts = counts(Strategy::LeastPending, Some("b")).await;
    assert_eq!(counts.get("b"), None, "each other one has fewer calls: {counts:?}");
}
