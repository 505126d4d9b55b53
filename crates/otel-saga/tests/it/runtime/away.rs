//! A journal that is unavailable for a minute, and one that loses replies.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::StartError;
use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, Status};

use super::memory;
use crate::faulty::Faulty;
use crate::shop::{Fault, Shop, builder, order, trip};

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_away_is_waited_for_and_nothing_is_lost() {
    let faulty = Faulty::new(&memory(), 0);
    let journal: Arc<dyn Journal> = faulty.clone();
    let shop = Shop::default();
    let runtime = builder(&journal, &shop, "w").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(1000)]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    faulty.set_away(true);
    assert!(matches!(runtime.start(&order(1), "2", 7).await, Err(StartError::Journal(_))));
    let before = faulty.asked();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(shop.called(), "reserve", "nothing begins that is not journaled");
    let asked = faulty.asked() - before;
    assert!(asked < 200, "asked {asked} times in a minute");
    faulty.set_away(false);
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!(shop.called(), "reserve pay ship", "the outcome was not forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_loses_answers_loses_no_saga() {
    for every in 2..6 {
        let faulty = Faulty::new(&memory(), every);
        let journal: Arc<dyn Journal> = faulty.clone();
        let shop = Shop::default();
        let runtime = builder(&journal, &shop, "w").start();
        for key in 0..8 {
            let refuse = if key % 2 == 0 { Fault::Refuse } else { Fault::Fine };
            shop.script("car", Phase::Action, [refuse]);
            let key = key.to_string();
            let mut answer = runtime.start(&trip(), &key, 7).await;
            // A start whose outcome stays unknown is repeated with the same key.
            while let Err(StartError::Journal(_)) = answer {
                answer = runtime.start(&trip(), &key, 7).await;
            }
            let id = answer.unwrap();
            let waiting = async {
                loop {
                    if let Ok(status) = runtime.wait(&id).await {
                        return status;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            let status = tokio::time::timeout(Duration::from_secs(600), waiting).await.expect("it is stuck");
            let expected = if refuse == Fault::Refuse { Status::Compensated } else { Status::Completed };
            assert_eq!(status, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_answer_is_lost_is_not_made_twice() {
    let (journal, shop) = (memory(), Shop::default());
    let faulty: Arc<dyn Journal> = Faulty::new(&journal, 2);
    let runtime = builder(&faulty, &shop, "w").start();
    let id = loop {
        if let Ok(id) = runtime.start(&order(1), "1", 7).await {
            break id;
        }
    };
    let watching = builder(&journal, &Shop::default(), "watching").start();
    let status =
        tokio::time::timeout(Duration::from_secs(600), watching.wait(&id)).await.expect("it is stuck");
    assert_eq!(status.unwrap(), Status::Completed);
    let state = watching.status(&id).await.unwrap().state;
    assert!(state.steps.iter().all(|step| step.action.attempts == 1), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_without_an_answer_is_not_left_lying() {
    for every in 2..6 {
        let (journal, shop) = (memory(), Shop::default());
        let dying = builder(&journal, &shop, "dying").start();
        shop.script("reserve", Phase::Action, [Fault::Slow(60_000); 10]);
        let mut ids = Vec::new();
        for key in 0..10 {
            ids.push(dying.start(&order(1), &key.to_string(), 7).await.unwrap());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(dying);
        let faulty: Arc<dyn Journal> = Faulty::new(&journal, every);
        // The worker runs throughout, so that its lease never expires.
        let _living = builder(&faulty, &shop, "living").start();
        let watching = builder(&journal, &Shop::default(), "watching").with_concurrency(1);
        let watching = watching.with_poll_interval(Duration::from_secs(86_400)).start();
        for id in &ids {
            let mut waited = 0;
            while watching.status(id).await.unwrap().summary.status != Status::Completed {
                tokio::time::sleep(Duration::from_secs(1)).await;
                waited += 1;
                assert!(waited < 600, "{id} was left lying, of every {every} one lost");
            }
        }
    }
}
