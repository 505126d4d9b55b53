//! Alerts: failures that need an operator are `tracing` events, and transient ones are not.

use otel_saga::two_phase::Answer;

use super::bank::{Bank, Fault, builder};
use super::behaviour::{memory, pay};
use crate::alerts::{Lines, set_default};

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
    b.script("commit", [Fault::Say(Answer::Committed)]);
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
    for part in ["ERROR", "a participant does not acknowledge the decision", "transfer/3", "b: lost"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    b.script("commit", [Fault::Say(Answer::RolledBack)]);
    pay(&coordinator, "4", &[&a, &b]).await.unwrap();
    let text = lines.text();
    for part in ["a participant decided otherwise", "transfer/4", "to commit", "rolled_back"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
