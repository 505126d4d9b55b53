//! Several workers on one journal: crashes, takeovers, zombies, versions that one of them does not have.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, NewInstance, Status};

use super::memory;
use crate::faulty::Faulty;
use crate::shop::{Fault, Shop, builder, order, trip};

#[tokio::test(start_paused = true)]
async fn a_dead_workers_sagas_go_on_when_its_lease_is_over() {
    let (journal, shop) = (memory(), Shop::default());
    let dying = builder(&journal, &shop, "dying").start();
    shop.script("pay", Phase::Action, [Fault::Slow(60_000)]);
    let id = dying.start(&order(1), "1", 7).await.unwrap();
    let living = builder(&journal, &shop, "living").start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.called(), "reserve pay");
    drop(dying);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shop.called(), "reserve pay", "the lease lives");
    assert_eq!(living.wait(&id).await.unwrap(), Status::Completed);
    assert_eq!(shop.called(), "reserve pay pay ship");
    let world = shop.world();
    assert!(world.keys.values().all(|keys| keys.len() == 1), "{:?}", world.keys);
    assert_eq!(world.calls[2].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_paused_past_its_lease_is_fenced() {
    let (journal, shop) = (memory(), Shop::default());
    let faulty = Faulty::new(&journal, 0);
    let zombie = builder(&(faulty.clone() as Arc<dyn Journal>), &shop, "zombie").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(3_000)]);
    let id = zombie.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    faulty.set_away(true);
    let living = builder(&journal, &shop, "living").start();
    assert_eq!(living.wait(&id).await.unwrap(), Status::Completed);
    let journaled = living.status(&id).await.unwrap().records;
    faulty.set_away(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(shop.called(), "reserve reserve pay ship", "the zombie has noticed");
    assert_eq!(living.status(&id).await.unwrap().records, journaled);
    assert_eq!(shop.world().standing.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_reaches_the_worker_that_has_the_saga() {
    let (journal, shop) = (memory(), Shop::default());
    let working = builder(&journal, &shop, "working").start();
    let asking = builder(&journal, &shop, "asking").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(3_000)]);
    let id = working.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    asking.cancel(&id).await.unwrap();
    assert_eq!(asking.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(shop.called(), "reserve -reserve");
    // The outcome that arrived meanwhile was journaled after the request, and is not unknown.
    assert!(shop.world().calls[1].output.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_parked_and_nothing_else_stops() {
    let (journal, shop) = (memory(), Shop::default());
    for (id, record) in [("order/bad", &b"\x00garbage"[..]), ("order/later", br#"{"v":9,"r":{}}"#)] {
        journal.create(NewInstance::new(id, "order", 1, vec![record.to_vec()])).await.unwrap();
    }
    let runtime = builder(&journal, &shop, "w").start();
    let fine = runtime.start(&trip(), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&fine).await.unwrap(), Status::Completed);
    for id in ["order/bad", "order/later"] {
        assert_eq!(runtime.wait(id).await.unwrap(), Status::Parked, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn instances_are_left_to_the_workers_that_know_their_definition() {
    let (journal, shop) = (memory(), Shop::default());
    // A rolling deploy: the old release has version 1, the new one also version 2. Each step waits in the journal
    // before its second attempt, where both workers look for due instances.
    let poll = Duration::from_millis(20);
    let old = builder(&journal, &shop, "old").with_poll_interval(poll).start();
    let new = builder(&journal, &shop, "new").with_saga(&order(2)).with_poll_interval(poll).start();
    shop.script("reserve", Phase::Action, [Fault::Lose; 100]);
    let mut ids = Vec::new();
    for number in 0..100 {
        ids.push(new.start(&order(2), &number.to_string(), 7).await.unwrap());
    }
    for id in &ids {
        assert_eq!(new.wait(id).await.unwrap(), Status::Completed, "{id}");
    }

    // The only worker that knows an instance's definition dies: the instance is not parked, and a later one continues it.
    shop.script("reserve", Phase::Action, [Fault::Slow(60_000)]);
    let left = new.start(&order(2), "left", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(new);
    shop.script("reserve", Phase::Action, []);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let before = journal.load(&left).await.unwrap().unwrap().summary;
    assert_eq!((before.status, before.epoch), (Status::Running, 1));
    let newer = builder(&journal, &shop, "newer").with_saga(&order(2)).start();
    assert_eq!(newer.wait(&left).await.unwrap(), Status::Completed);
    drop(old);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_was_changed_without_a_new_version_parks() {
    let (journal, shop) = (memory(), Shop::default());
    let first = builder(&journal, &shop, "first").start();
    shop.script("reserve", Phase::Action, [Fault::Slow(60_000)]);
    let id = first.start(&order(1), "1", 7).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first);
    let mut changed = otel_saga::Saga::<Shop, u32>::builder("order", 1);
    changed.step("reserve", (), crate::shop::act).undo(crate::shop::undo);
    let second = builder(&journal, &shop, "second").with_saga(&changed.build().unwrap()).start();
    assert_eq!(second.wait(&id).await.unwrap(), Status::Parked);
}
