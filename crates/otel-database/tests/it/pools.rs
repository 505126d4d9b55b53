//! The metrics of pools: waits, timeouts, uses, and the state that is read at a collection.

use std::sync::{Arc, Weak};
use std::time::Duration;

use otel_database::{ObservedPool, Options, PoolSnapshot};
use otel_testing::Recorder;

use crate::support::{build, database, with};

struct Pool(PoolSnapshot);

impl ObservedPool for Pool {
    fn snapshot(&self) -> PoolSnapshot {
        self.0
    }
}

#[test]
fn waits_and_uses_are_counted_and_measured() {
    let recorder = Recorder::new();
    let pool = database(&recorder).pool_metrics();
    let pending = || recorder.metric("db.client.connection.pending_requests").sum();
    let first = pool.start_wait();
    let second = pool.start_wait();
    let third = pool.start_wait();
    assert_eq!(pending(), 3.0);
    let waited = first.finish();
    second.time_out();
    drop(third);
    assert_eq!(pending(), 0.0);
    drop(pool.start_use());
    pool.record_created(Duration::from_millis(2));
    let metric = |name: &str| recorder.metric(&format!("db.client.connection.{name}"));
    assert_eq!((metric("wait_time").count(), metric("wait_time").sum()), (1, waited.as_secs_f64()));
    assert_eq!(metric("timeouts").sum(), 1.0);
    assert_eq!(metric("use_time").count(), 1);
    assert_eq!(metric("create_time").sum(), 0.002);
    let name =
        metric("use_time").points()[0].attribute("db.client.connection.pool.name").map(ToString::to_string);
    assert_eq!(name.as_deref(), Some("db.example:4711/shop"));
}

#[test]
fn the_state_of_each_pool_is_read_at_a_collection_while_it_exists() {
    let recorder = Recorder::new();
    let named = |name: &'static str| with(&recorder, |options| options.with_pool_name(name)).pool_metrics();
    let readers = Arc::new(Pool(PoolSnapshot::new(2, 3).with_limits(Some(9), Some(9), Some(1))));
    let writers = Arc::new(Pool(PoolSnapshot::new(0, 1)));
    for (metrics, pool) in [(named("readers"), &readers), (named("writers"), &writers)] {
        let pool: Weak<dyn ObservedPool> = Arc::downgrade(&(Arc::clone(pool) as Arc<dyn ObservedPool>));
        metrics.observe(pool);
        drop((metrics.start_wait(), metrics.start_wait()));
    }
    let values = |name: &str| {
        let metric = recorder.metric(&format!("db.client.connection.{name}"));
        let value = |point: &otel_testing::Point| {
            let text = |key: &str| point.attribute(key).map(ToString::to_string).unwrap_or_default();
            (text("db.client.connection.pool.name"), text("db.client.connection.state"), point.sum())
        };
        let mut values: Vec<_> = metric.points().iter().map(value).collect();
        values.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        values
    };
    let of = |pool: &str, state: &str, value| (pool.to_owned(), state.to_owned(), value);
    let expected = [
        of("readers", "idle", 2.0),
        of("readers", "used", 3.0),
        of("writers", "idle", 0.0),
        of("writers", "used", 1.0),
    ];
    assert_eq!(values("count"), expected);
    for name in ["max", "idle.max"] {
        assert_eq!(values(name), [of("readers", "", 9.0)]);
    }
    assert_eq!(values("idle.min"), [of("readers", "", 1.0)]);
    drop(readers);
    drop(writers);
    // The pools are gone: their callbacks observe nothing, and panic nowhere.
    let _ = recorder.metrics();
}

#[test]
fn without_an_sdk_a_pool_counts_nothing() {
    let pool = build(Options::new()).pool_metrics();
    let wait = pool.start_wait();
    assert!(wait.finish() < Duration::from_secs(60));
    pool.start_wait().time_out();
    drop(pool.start_use());
}
