//! Workers whose clocks differ: the server's clock decides.

use std::time::Duration;

use otel_saga::journal::{AfterAppend, CreateOutcome, Journal, NewInstance, now};

use crate::clocked::Still;
use crate::support::Scratch;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_worker_whose_clock_is_ahead_takes_nothing_from_the_living() {
    let _still = Still::new();
    let database = Scratch::new();
    let journal = database.journal().await;
    journal.renew("living", Duration::from_secs(600)).await.unwrap();
    let new = |id: &str| NewInstance::new(id, "order", 1, vec![]);
    journal.create(new("taken").with_worker("living")).await.unwrap();
    let CreateOutcome::New(cursor) = journal.create(new("waiting")).await.unwrap() else {
        panic!("it exists")
    };
    let later = AfterAppend::Runnable { at: now() + 600_000 };
    journal.append("waiting", cursor, vec![], later).await.unwrap();

    // From here on the clock of this process is an hour ahead.
    tokio::time::advance(HOUR).await;
    assert!(journal.claim("ahead", None, 10).await.unwrap().is_empty());
    assert_eq!(journal.prune(now(), 10).await.unwrap(), 0);
    // A due time is converted to a delay, so that this process's present is the server's.
    journal.append("waiting", cursor, vec![], AfterAppend::Runnable { at: now() }).await.unwrap();
    assert_eq!(journal.claim("ahead", None, 10).await.unwrap()[0].id, "waiting");
}
