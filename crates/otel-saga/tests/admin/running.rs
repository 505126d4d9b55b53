//! `saga-admin` on Postgres, while a worker runs.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::Runtime;
use otel_saga::journal::{Journal, Status};

use crate::order;
use crate::program::admin;
use crate::support::Scratch;

#[tokio::test]
async fn a_running_applications_sagas_are_looked_at_and_told() {
    let database = Scratch::new();
    let url = database.url();
    let on = ["--postgres", &*url];
    let missing = admin(on, "list").failed();
    assert!(missing.contains("has version 0 of the journal's tables, of 3: run the migrations"), "{missing}");
    assert_eq!(admin(on, "migrate").fine(), "");
    assert_eq!(admin(on, "migrate").fine(), "");
    assert_eq!(admin(on, "list --json").fine(), "");

    let journal: Arc<dyn Journal> = Arc::new(database.journal().await);
    let saga = order();
    let runtime = Runtime::builder(journal, ()).with_saga(&saga);
    let runtime = runtime.with_poll_interval(Duration::from_millis(20)).start();
    for key in ["1", "2"] {
        runtime.start(&saga, key, "secret-input".to_owned()).await.unwrap();
    }
    let attempts = async |id: &str, attempts: u32| {
        while runtime.status(id).await.unwrap().state.steps[1].action.attempts < attempts {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    attempts("order/1", 1).await;
    attempts("order/2", 1).await;
    let counts = admin(on, "counts --json").json();
    assert_eq!((&counts[0]["saga"], &counts[0]["count"]), (&"order".into(), &2.into()));
    let show = admin(on, "show order/1").fine();
    assert!(show.contains("pay      attempt 1") && !show.contains("secret"), "{show}");

    assert_eq!(admin(on, "retry order/1 order/2").fine(), "retried order/1\nretried order/2\n");
    attempts("order/1", 2).await;
    attempts("order/2", 2).await;
    admin(on, "park order/1").fine();
    assert_eq!(runtime.wait("order/1").await.unwrap(), Status::Parked);
    let some = admin(on, "retry order/1 order/2 order/3");
    assert_eq!((some.code, &*some.out), (1, "retried order/2\n"));
    assert!(some.error.contains("`order/1` is parked") && some.error.contains("no instance `order/3`"));
    attempts("order/2", 3).await;
    admin(on, "unpark order/1").fine();
    attempts("order/1", 3).await;
    admin(on, "cancel order/1 order/2").fine();
    for id in ["order/1", "order/2"] {
        assert_eq!(runtime.wait(id).await.unwrap(), Status::Compensated);
    }
    let list = admin(on, "list --status compensated").fine();
    assert_eq!(list.lines().count(), 3, "{list}");
    assert_eq!(admin(on, "prune --older-than 0s --json").fine(), "{\"pruned\":2}\n");
    runtime.shutdown(Duration::from_secs(60)).await;

    let other = admin(on, "--schema Other list").failed();
    assert!(other.contains("`Other` is no name of a schema"), "{other}");
    let nowhere = admin(["--postgres", "postgres://somebody:hidden@127.0.0.1:1/x"], "list").failed();
    assert!(nowhere.contains("no connection") && !nowhere.contains("hidden"), "{nowhere}");
    let no_url = admin(["--postgres", "mysql://somebody:hidden@h/x"], "list").failed();
    assert!(no_url.contains("not of the form") && !no_url.contains("hidden"), "{no_url}");
}
