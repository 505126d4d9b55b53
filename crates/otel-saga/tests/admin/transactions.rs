//! `saga-admin` on a coordinator's journal: transactions are shown, and changes are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use otel_saga::BoxError;
use otel_saga::journal::{Journal, RedbJournal};
use otel_saga::two_phase::{Acknowledgement, Branch, Coordinator, Participant, Vote};

use crate::file::Scratch;
use crate::program::admin;

/// A participant that votes yes, and acknowledges while its flag is set.
#[derive(Clone, Debug)]
struct Bank(&'static str, Arc<AtomicBool>);

#[async_trait::async_trait]
impl Participant for Bank {
    fn name(&self) -> &str {
        self.0
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        let refuses = self.0 == "shop" && branch.as_str().ends_with("/refused");
        Ok(if refuses { Vote::No("sold\nout".to_owned()) } else { Vote::Yes })
    }

    async fn commit(&self, _: &Branch) -> Result<Acknowledgement, BoxError> {
        if self.1.load(Ordering::SeqCst) { Ok(Acknowledgement::Done) } else { Err("no answer".into()) }
    }

    async fn rollback(&self, _: &Branch) -> Result<Acknowledgement, BoxError> {
        Ok(Acknowledgement::Done)
    }
}

/// Leaves one committed transaction, one aborted one, and one that waits for the shop.
async fn three(file: &str) {
    let journal: Arc<dyn Journal> = Arc::new(RedbJournal::open(file).unwrap());
    let there = Arc::new(AtomicBool::new(true));
    let (bank, shop) = (Bank("bank", Arc::new(AtomicBool::new(true))), Bank("shop", Arc::clone(&there)));
    let builder = Coordinator::builder(Arc::clone(&journal), "pay");
    let coordinator =
        builder.with_participant(bank.clone()).with_participant(shop.clone()).start().await.unwrap();
    for key in ["fine", "refused", "waits"] {
        there.store(key != "waits", Ordering::SeqCst);
        let payment = coordinator.begin("payment", key).unwrap();
        payment.with(bank.clone()).with(shop.clone()).commit().await.unwrap();
    }
    coordinator.shutdown(Duration::from_secs(60)).await;
    while Arc::strong_count(&journal) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn transactions_are_shown_and_not_told_anything() {
    let scratch = Scratch::new("transactions");
    let file = scratch.file();
    three(&file).await;
    let on = ["--redb", &*file];

    let list = admin(on, "list").fine();
    let lines: Vec<&str> = list.lines().collect();
    for (line, start) in lines[1..].iter().zip([
        "payment/fine     2pc payment 1  committed  20",
        "payment/refused  2pc payment 1  aborted    20",
        "payment/waits    2pc payment 1  running    20",
    ]) {
        assert!(line.starts_with(start), "{list}");
    }
    assert_eq!(admin(on, "list --status committed").fine().lines().count(), 2);
    let counts = admin(on, "counts").fine();
    assert!(counts.contains("2pc payment  committed  1") && counts.contains("running    1"), "{counts}");

    let show = admin(on, "show payment/waits").fine();
    let mut rows = show.lines().skip(3);
    let head: Vec<&str> = rows.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["TIME", "PARTICIPANT", "EVENT"], "{show}");
    let told: Vec<String> = rows
        .map(|line| {
            let words = line.split_whitespace().filter(|word| !word.starts_with("20"));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let expected = [
        "started payment of bank, shop",
        "decided to commit",
        "bank acknowledged",
        "waiting, asked again: shop: no answer",
        "waiting for shop",
    ];
    assert_eq!(told, expected, "{show}");
    let refused = admin(on, "show payment/refused").fine();
    assert!(refused.contains("aborted: shop: sold\\nout"), "{refused}");
    let shown = admin(on, "show payment/waits --json").json();
    assert_eq!(shown[0]["decision"], "commit");
    assert_eq!(shown[0]["unacknowledged"], serde_json::json!(["shop"]));
    assert_eq!(shown[0]["transaction"]["id"], "payment/waits");

    for command in ["retry", "park", "unpark", "cancel"] {
        let refused = admin(on, &format!("{command} payment/waits")).failed();
        assert!(refused.contains("`payment/waits` is a two-phase commit and no saga"), "{refused}");
    }
    let refused = admin(on, "prune --older-than 0s").failed();
    assert!(refused.contains("only its coordinator changes anything in this journal"), "{refused}");
    assert_eq!(admin(on, "show payment/waits").fine(), show, "it was changed");
    assert_eq!(admin(on, "list").fine().lines().count(), 4);
}
