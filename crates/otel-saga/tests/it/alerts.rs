//! Alerts: failures that need an operator are `tracing` events, and transient ones are not.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, MemoryJournal, NewInstance, Status};

pub(crate) use crate::lines::{Lines, set_default};
use crate::shop::{Fault, Shop, builder, order};

#[tokio::test(start_paused = true)]
async fn instances_that_no_worker_claims_raise_an_alert() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    for (id, saga, version) in [("order/1", "order", 2), ("order/2", "order", 2), ("refund/1", "refund", 1)] {
        journal.create(NewInstance::new(id, saga, version, vec![])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let _runtime = builder(&journal, &Shop::default(), "w").start();
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert_eq!(lines.text(), "");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let text = lines.text();
    assert_eq!(text.lines().count(), 2, "one alert for each definition: {text}");
    for part in [
        "saga not claimed for 5 minutes",
        "order/1",
        "2 instances of version 2 of `order` wait: register the definition with a worker",
        "refund/1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn compensations_and_forward_steps_that_keep_failing_raise_alerts() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let text = || lines.text();

    let shop = Shop::default();
    let runtime = builder(&(Arc::new(MemoryJournal::new()) as _), &shop, "w").start();
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    shop.script("reserve", Phase::Compensation, [Fault::Lose; 2]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(text(), "", "two failures are no alert where three attempts are usual");

    shop.script("pay", Phase::Action, [Fault::Refuse]);
    shop.script("reserve", Phase::Compensation, [Fault::Lose; 5]);
    let id = runtime.start(&order(1), "2", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    let alerts = text();
    let lines: Vec<&str> = alerts.lines().collect();
    assert_eq!(lines.len(), 3, "{alerts}");
    for part in ["ERROR", "a step that cannot be given up keeps failing", "order/2", "reserve", "lost"] {
        assert!(lines[0].contains(part), "{part}: {alerts}");
    }

    shop.script("ship", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&order(1), "3", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    assert!(text().contains("a step was refused where there is only forward"), "{}", text());
}
