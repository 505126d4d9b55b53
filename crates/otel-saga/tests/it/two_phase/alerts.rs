//! Alerts: failures that need an operator are `tracing` events, and transient ones are not.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::journal::Journal;
use otel_saga::two_phase::{Acknowledgement, Coordinator};
use tokio::time::sleep;

use super::bank::{Bank, Fault, builder};
use super::behaviour::{memory, pay};
use crate::alerts::{Lines, set_default};
use crate::faulty::Faulty;
use crate::shop::{self, Shop};

#[tokio::test(start_paused = true)]
async fn what_is_not_whole_and_who_keeps_silent_raise_alerts() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let (journal, a, b) = (memory(), Bank::new("a"), Bank::new("b"));
    let coordinator = builder(&journal, "w", &[&a, &b]).start().await.unwrap();

    b.script("commit", [Fault::Lose; 2]);
    pay(&coordinator, "1", &[&a, &b]).await.unwrap();
    coordinator.wait("transfer/1").await.unwrap();
    b.script("commit", [Fault::Say(Acknowledgement::Committed)]);
    pay(&coordinator, "2", &[&a, &b]).await.unwrap();
    assert_eq!(
        lines.text(),
        "",
        "two failures are no alert where three attempts are usual, nor is what was decided anyway"
    );

    b.script("commit", [Fault::Lose; 4]);
    pay(&coordinator, "3", &[&a, &b]).await.unwrap();
    coordinator.wait("transfer/3").await.unwrap();
    let text = lines.text();
    for part in [
        "ERROR",
        "a participant does not acknowledge the decision",
        "transfer/3",
        "participant=\"b\"",
        "error=\"lost\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    b.script("commit", [Fault::Say(Acknowledgement::RolledBack)]);
    pay(&coordinator, "4", &[&a, &b]).await.unwrap();
    let text = lines.text();
    for part in ["a participant decided otherwise", "transfer/4", "to commit", "rolled_back"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn alerts_about_an_unavailable_journal_have_its_causes() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let faulty = Faulty::new(&memory(), 0);
    let journal: Arc<dyn Journal> = faulty.clone();
    let runtime = shop::builder(&journal, &Shop::default(), "w").start();
    let coordinator = Coordinator::builder(Arc::clone(&journal), "payments").start().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lines.text(), "");
    faulty.set_away(true);
    sleep(Duration::from_secs(60)).await;
    drop((runtime, coordinator));
    let text = lines.text();
    for event in [
        "the lease was not renewed",
        "the journal did not say which sagas are due",
        "the journal did not say which transactions are due",
        "the journal's transactions were not counted",
    ] {
        let about: Vec<&str> = text.lines().filter(|line| line.contains(event)).collect();
        assert!(!about.is_empty(), "{event}: {text}");
        assert!(about.iter().all(|line| line.contains("the journal failed: away")), "{event}: {about:?}");
    }
}
