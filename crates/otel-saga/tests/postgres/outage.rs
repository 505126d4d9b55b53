//! Postgres stops while sagas run, as in a crash, and starts again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, Status};
use otel_saga::{Runtime, StartError};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::faulty::Faulty;
use crate::server::Server;
use crate::shop::{Fault, Shop, builder, order};
use crate::support::Scratch;

const SAGAS: usize = 24;

/// Starts sagas: half of them are in the middle of a step, the others start and end all the time.
async fn some_sagas(runtime: &Runtime<Shop>, shop: &Shop) -> Vec<String> {
    shop.script("pay", Phase::Action, [Fault::Slow(400); SAGAS]);
    let mut ids = Vec::new();
    for key in 0..SAGAS {
        ids.push(runtime.start(&order(1), &key.to_string(), 7).await.unwrap());
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_and_comes_back_has_lost_nothing() {
    let mut server = Server::start();
    // The server listens before it accepts sessions.
    let url = format!("{}/postgres", server.url());
    while PgConnection::connect(&url).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let database = Scratch::on(&server.url());
    // The wrapper only counts calls; it loses none.
    let real: Arc<dyn Journal> = Arc::new(database.journal().await);
    let counting = Faulty::new(&real, 0);
    let journal: Arc<dyn Journal> = counting.clone();
    let shop = Shop::default();
    let runtime = builder(&journal, &shop, "w").with_lease(Duration::from_secs(60)).start();
    let ids = some_sagas(&runtime, &shop).await;
    let begun = || shop.world().calls.iter().filter(|call| call.step == "pay").count();
    while begun() < SAGAS / 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.crash();

    let asked = Instant::now();
    let refused = runtime.start(&order(1), "meanwhile", 7).await.unwrap_err();
    let StartError::Journal(source) = refused else { panic!("{refused:?}") };
    println!("after {:?}: {source:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(30), "it fails at once, and not when time is over");
    // Running attempts end, and their outcomes are kept in memory; no further attempt starts.
    let before = counting.asked();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let during = counting.asked() - before;
    // Each saga appends and loads at 0, 50, 150, 350, 750, 1550 and 3150 ms; the loops call as well.
    assert!((1..SAGAS * 20).contains(&during), "asked {during} times in four seconds");

    server.start_again();
    for id in &ids {
        let done = async {
            // The server may still be recovering.
            loop {
                if let Ok(status) = runtime.wait(id).await {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let status = tokio::time::timeout(Duration::from_secs(120), done).await.expect("it is stuck");
        assert_eq!(status, Status::Completed, "{id}");
    }
    let last = runtime.start(&order(1), "meanwhile", 7).await.unwrap();
    assert_eq!(runtime.wait(&last).await.unwrap(), Status::Completed);
    let world = shop.world();
    assert!(world.keys.values().all(|keys| keys.len() == 1), "{:?}", world.keys);
    assert_eq!(world.standing.len(), 3 * (SAGAS + 1));
    assert_eq!(world.calls.len(), 3 * (SAGAS + 1), "no outcome was forgotten");
}
